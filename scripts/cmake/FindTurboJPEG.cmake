# Finds libjpeg-turbo's own API (Debian: libturbojpeg0-dev). Defines TurboJPEG::TurboJPEG.
find_path(TURBOJPEG_INCLUDE_DIR turbojpeg.h)
find_library(TURBOJPEG_LIBRARY turbojpeg)
mark_as_advanced(TURBOJPEG_INCLUDE_DIR TURBOJPEG_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TurboJPEG
    REQUIRED_VARS TURBOJPEG_LIBRARY TURBOJPEG_INCLUDE_DIR)

if(TurboJPEG_FOUND AND NOT TARGET TurboJPEG::TurboJPEG)
    add_library(TurboJPEG::TurboJPEG INTERFACE IMPORTED)
    target_include_directories(TurboJPEG::TurboJPEG SYSTEM INTERFACE
                               ${TURBOJPEG_INCLUDE_DIR})
    target_link_libraries(TurboJPEG::TurboJPEG INTERFACE ${TURBOJPEG_LIBRARY})
endif()
