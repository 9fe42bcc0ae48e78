# Finds cJSON (Debian: libcjson-dev). Defines the target CJSON::CJSON.
find_path(CJSON_INCLUDE_DIR cjson/cJSON.h)
find_library(CJSON_LIBRARY cjson)
mark_as_advanced(CJSON_INCLUDE_DIR CJSON_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CJSON REQUIRED_VARS CJSON_LIBRARY CJSON_INCLUDE_DIR)

if(CJSON_FOUND AND NOT TARGET CJSON::CJSON)
    add_library(CJSON::CJSON INTERFACE IMPORTED)
    target_include_directories(CJSON::CJSON SYSTEM INTERFACE ${CJSON_INCLUDE_DIR})
    target_link_libraries(CJSON::CJSON INTERFACE ${CJSON_LIBRARY})
endif()
