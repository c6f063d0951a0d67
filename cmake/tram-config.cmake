# find_package(tram): the targets tram::tram (libtram.so) and, if it is installed, tram::tram_static
# (libtram.a), tram::service (libtram-service.so) with tram_protobuf_generate(), which
# tram-protobuf.cmake describes. find_package(tram COMPONENTS static) insists on that component.

include("${CMAKE_CURRENT_LIST_DIR}/tram-shared.cmake")
set(tram_shared_FOUND TRUE)

if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/tram-static.cmake")
    include(CMakeFindDependencyMacro)
    set(THREADS_PREFER_PTHREAD_FLAG ON)
    find_dependency(Threads)
    include("${CMAKE_CURRENT_LIST_DIR}/tram-static.cmake")
    set(tram_static_FOUND TRUE)
endif()

if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/tram-service.cmake")
    include("${CMAKE_CURRENT_LIST_DIR}/tram-service.cmake")
    include("${CMAKE_CURRENT_LIST_DIR}/tram-protobuf.cmake")
    set(tram_service_FOUND TRUE)
endif()

foreach(component IN LISTS tram_FIND_COMPONENTS)
    if(tram_FIND_REQUIRED_${component} AND NOT tram_${component}_FOUND)
        set(tram_FOUND FALSE)
        set(tram_NOT_FOUND_MESSAGE "tram is installed without its component '${component}'")
    endif()
endforeach()
