# Finds libdeflate (Debian: libdeflate-dev). Defines Libdeflate::Libdeflate.
find_path(LIBDEFLATE_INCLUDE_DIR libdeflate.h)
find_library(LIBDEFLATE_LIBRARY deflate)
mark_as_advanced(LIBDEFLATE_INCLUDE_DIR LIBDEFLATE_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libdeflate
    REQUIRED_VARS LIBDEFLATE_LIBRARY LIBDEFLATE_INCLUDE_DIR)

if(Libdeflate_FOUND AND NOT TARGET Libdeflate::Libdeflate)
    add_library(Libdeflate::Libdeflate INTERFACE IMPORTED)
    target_include_directories(Libdeflate::Libdeflate SYSTEM INTERFACE
                               ${LIBDEFLATE_INCLUDE_DIR})
    target_link_libraries(Libdeflate::Libdeflate INTERFACE ${LIBDEFLATE_LIBRARY})
endif()
