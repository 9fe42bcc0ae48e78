/* limits.h: how much of an untrusted file is taken in. One table, so that the README can
 * show it and tests can reach every edge. */
#ifndef DIFFENS_LIMITS_H
#define DIFFENS_LIMITS_H

#define LIMIT_SAFETENSORS_HEADER (16ull << 20) /* bytes */
#define LIMIT_TENSORS 200000
#define LIMIT_TENSOR_NAME 1024 /* bytes */
#define LIMIT_TENSOR_TEXTS 10000
#define LIMIT_SHARDS 256
#define LIMIT_SHARD_INDEX (16ull << 20) /* bytes */

#define LIMIT_PICKLE_BYTES (64ull << 20)   /* of one pickle */
#define LIMIT_PICKLE_VALUES (256ull << 20) /* bytes, and 48 MiB + 3 times the pickle */
#define LIMIT_PICKLE_OPCODES 10000000
#define LIMIT_PICKLE_STACK 100000
#define LIMIT_PICKLE_MEMO 1000000
#define LIMIT_PICKLE_NESTING 64 /* open marks */
#define LIMIT_ZIP_ENTRIES 100000
#define LIMIT_ZIP_DIRECTORY (32ull << 20) /* bytes */

#define LIMIT_JSON_CONFIG (1ull << 20)   /* bytes: config.json and its like */
#define LIMIT_JSON_PROMPTS (16ull << 20) /* bytes: prompts, vocabularies */
#define LIMIT_JSON_RECORD (1ull << 30)   /* bytes: records and journals of runs */
#define LIMIT_JSON_DEPTH 64              /* at most 64: json_scan keeps a bit a level */
#define LIMIT_JSON_VALUES 500000
#define LIMIT_JSON_VALUE_BYTES 16 /* of a file that has more values than those */

#define LIMIT_IMAGE_FILE (256ull << 20) /* bytes */
#define LIMIT_IMAGE_SIDE 16384
#define LIMIT_IMAGE_PIXELS (64ll << 20)

#endif
