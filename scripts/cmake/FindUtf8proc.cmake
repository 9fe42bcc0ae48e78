# Finds utf8proc (Debian: libutf8proc-dev). Defines the target Utf8proc::Utf8proc.
find_path(UTF8PROC_INCLUDE_DIR utf8proc.h)
find_library(UTF8PROC_LIBRARY utf8proc)
mark_as_advanced(UTF8PROC_INCLUDE_DIR UTF8PROC_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Utf8proc REQUIRED_VARS UTF8PROC_LIBRARY UTF8PROC_INCLUDE_DIR)

if(Utf8proc_FOUND AND NOT TARGET Utf8proc::Utf8proc)
    add_library(Utf8proc::Utf8proc INTERFACE IMPORTED)
    target_include_directories(Utf8proc::Utf8proc SYSTEM INTERFACE ${UTF8PROC_INCLUDE_DIR})
    target_link_libraries(Utf8proc::Utf8proc INTERFACE ${UTF8PROC_LIBRARY})
endif()
