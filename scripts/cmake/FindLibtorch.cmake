# Finds libtorch without the CUDA toolkit that Torch's own package file asks for.
# Looks in LIBTORCH (variable or environment) and nowhere else where that is set, else in
# CMAKE_PREFIX_PATH and the project's own environment (.venv). Defines the target Libtorch::Libtorch, and Libtorch_CUDA where that
# links the CUDA kernels.
file(GLOB venv_torch ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
if(LIBTORCH)
    set(places PATHS ${LIBTORCH} NO_DEFAULT_PATH)
elseif(DEFINED ENV{LIBTORCH})
    set(places PATHS $ENV{LIBTORCH} NO_DEFAULT_PATH)
else()
    set(places HINTS ${venv_torch})
endif()
# What an earlier configuration found elsewhere must not stay.
if(NOT "${places}" STREQUAL "${LIBTORCH_PLACES}")
    unset(LIBTORCH_INCLUDE_DIR CACHE)
    foreach(library TORCH_CPU C10 TORCH_CUDA C10_CUDA)
        unset(LIBTORCH_${library} CACHE)
    endforeach()
    set(LIBTORCH_PLACES "${places}" CACHE INTERNAL "where libtorch was looked for")
endif()

find_path(LIBTORCH_INCLUDE_DIR ATen/ATen.h ${places} PATH_SUFFIXES include)
find_library(LIBTORCH_TORCH_CPU torch_cpu ${places} PATH_SUFFIXES lib)
find_library(LIBTORCH_C10 c10 ${places} PATH_SUFFIXES lib)
find_library(LIBTORCH_TORCH_CUDA torch_cuda ${places} PATH_SUFFIXES lib)
find_library(LIBTORCH_C10_CUDA c10_cuda ${places} PATH_SUFFIXES lib)
mark_as_advanced(LIBTORCH_INCLUDE_DIR LIBTORCH_TORCH_CPU LIBTORCH_C10
                 LIBTORCH_TORCH_CUDA LIBTORCH_C10_CUDA)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libtorch
    REQUIRED_VARS LIBTORCH_TORCH_CPU LIBTORCH_C10 LIBTORCH_INCLUDE_DIR
    REASON_FAILURE_MESSAGE "run scripts/setup, or set LIBTORCH to a copy of libtorch")

if(Libtorch_FOUND AND NOT TARGET Libtorch::Libtorch)
    add_library(Libtorch::Libtorch INTERFACE IMPORTED)
    target_include_directories(Libtorch::Libtorch SYSTEM INTERFACE ${LIBTORCH_INCLUDE_DIR})
    # A library whose symbols nobody names registers the CUDA kernels: it must stay linked.
    # It stays out where the NVIDIA libraries that it needs are not installed.
    get_filename_component(libtorch_lib ${LIBTORCH_C10} DIRECTORY)
    get_filename_component(site_packages ${libtorch_lib}/../.. ABSOLUTE)
    file(GLOB nvidia_libraries ${site_packages}/nvidia/*/lib/libcudart.so*
                               ${site_packages}/nvidia/cu*/lib/libcudart.so*
                               ${libtorch_lib}/libcudart*.so*)
    if(LIBTORCH_TORCH_CUDA AND nvidia_libraries)
        target_link_libraries(Libtorch::Libtorch INTERFACE
            -Wl,--no-as-needed ${LIBTORCH_TORCH_CUDA} ${LIBTORCH_C10_CUDA} -Wl,--as-needed)
        set(Libtorch_CUDA ON)
    endif()
    target_link_libraries(Libtorch::Libtorch INTERFACE ${LIBTORCH_TORCH_CPU} ${LIBTORCH_C10})
    # at::parallel_for(), inline in the headers, computes on one thread without OpenMP. It must
    # be the OpenMP of libtorch itself.
    file(GLOB libtorch_gomp ${libtorch_lib}/libgomp*.so*
                            ${site_packages}/torch.libs/libgomp*.so*)
    if(NOT libtorch_gomp)
        set(libtorch_gomp gomp)
    endif()
    target_compile_options(Libtorch::Libtorch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
    target_link_libraries(Libtorch::Libtorch INTERFACE ${libtorch_gomp})
endif()
