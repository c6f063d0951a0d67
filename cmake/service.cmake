# The second layer: workers, services, and the state machines of their protocols. TRAM_SERVICE says
# whether it is built: it needs libuv, protobuf-c and its compiler, for the target. Without one of
# them it is left out.

set(TRAM_SERVICE OFF)
set(service_lacks "")
if(CMAKE_C_COMPILER MATCHES "musl")
    set(service_lacks "libuv and protobuf-c for this libc")   # what is found is another libc's
else()
    find_path(UV_INCLUDE uv.h)
    find_library(UV_LIBRARY NAMES uv)
    find_path(PROTOBUF_C_INCLUDE protobuf-c/protobuf-c.h)
    find_library(PROTOBUF_C_LIBRARY NAMES protobuf-c)
    find_program(PROTOC_C protoc-c)
    mark_as_advanced(UV_INCLUDE UV_LIBRARY PROTOBUF_C_INCLUDE PROTOBUF_C_LIBRARY PROTOC_C)
    # A folder with these headers alone: in a cross build the one that they lie in has those of
    # another libc and processor beside them.
    set(service_include ${CMAKE_BINARY_DIR}/inside/include)
    file(MAKE_DIRECTORY ${service_include})
    foreach(name uv.h uv protobuf-c)
        set(from ${UV_INCLUDE})
        if(name STREQUAL protobuf-c)
            set(from ${PROTOBUF_C_INCLUDE})
        endif()
        if(from AND EXISTS ${from}/${name})
            file(CREATE_LINK ${from}/${name} ${service_include}/${name} SYMBOLIC)
        endif()
    endforeach()
    if(NOT UV_INCLUDE OR NOT UV_LIBRARY)
        set(service_lacks "libuv")
    elseif(NOT PROTOBUF_C_INCLUDE OR NOT PROTOBUF_C_LIBRARY)
        set(service_lacks "protobuf-c")
    elseif(NOT PROTOC_C)
        set(service_lacks "protoc-c")
    else()
        include(CMakePushCheckState)
        include(CheckCSourceCompiles)
        cmake_push_check_state(RESET)
        set(CMAKE_REQUIRED_INCLUDES ${service_include})
        set(CMAKE_REQUIRED_LIBRARIES ${UV_LIBRARY} ${PROTOBUF_C_LIBRARY})
        check_c_source_compiles("#include <uv.h>
            #include <protobuf-c/protobuf-c.h>
            int main(void)
            {
                return uv_version() == 0 || protobuf_c_version_number() == 0;
            }" TRAM_SERVICE_LINKS)
        cmake_pop_check_state()
        if(TRAM_SERVICE_LINKS)
            set(TRAM_SERVICE ON)
        else()
            set(service_lacks "libuv and protobuf-c for this processor and libc")
        endif()
    endif()
endif()

set(service_folders "worker|service|topic|transport|keys|tls|wire|daemon")

# uses_service(VAR FILE): does this C file need the second layer? As its #include lines say.
function(uses_service var file)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(STRINGS ${file} lines
         REGEX "^#include [<\"](tram/[a-z_]+\\.h|(${service_folders})/|support/twin\\.h)")
    list(FILTER lines EXCLUDE REGEX "tram/tram\\.h")
    set(${var} OFF PARENT_SCOPE)
    if(lines OR file MATCHES "/src/(${service_folders})/")
        set(${var} ON PARENT_SCOPE)
    endif()
endfunction()

# typed_code(TARGET FILE): compiles the .proto files of which this C file includes the headers, by
# the function that is installed for users. They lie in examples/ or tests/support/.
function(typed_code target file)
    file(STRINGS ${file} lines REGEX "^#include \"[a-z_]+\\.pb-c\\.h\"")
    foreach(line ${lines})
        string(REGEX REPLACE "^.*\"([a-z_]+)\\..*$" "\\1" name ${line})
        foreach(folder examples tests/support)
            if(EXISTS ${CMAKE_SOURCE_DIR}/${folder}/${name}.proto)
                tram_protobuf_generate(TARGET ${target}
                                       PROTOS ${CMAKE_SOURCE_DIR}/${folder}/${name}.proto)
                # Its macros cast const away; clang says so where they are used.
                target_compile_options(${target} PRIVATE -Wno-cast-qual)
            endif()
        endforeach()
    endforeach()
endfunction()

if(NOT TRAM_SERVICE)
    message(STATUS "left out: services, workers and tramd, for there is no ${service_lacks}")
    include(cmake/tls.cmake)
    return()
endif()

include(cmake/tram-protobuf.cmake)

# --- What protoc-c makes of src/wire/*.proto: "wire/NAME.pb-c.h" ----------------------------------

set(generated ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${generated}/wire)
file(GLOB protos CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/wire/*.proto)
set(generated_sources "")
set(generated_headers "")
foreach(proto ${protos})
    cmake_path(GET proto STEM name)
    add_custom_command(
        OUTPUT ${generated}/wire/${name}.pb-c.c ${generated}/wire/${name}.pb-c.h
        COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR}/src --c_out=${generated}
                ${CMAKE_SOURCE_DIR}/src/wire/${name}.proto
        DEPENDS ${protos}
        VERBATIM)
    list(APPEND generated_sources ${generated}/wire/${name}.pb-c.c)
    list(APPEND generated_headers ${generated}/wire/${name}.pb-c.h)
endforeach()
add_custom_target(tram_generated DEPENDS ${generated_sources} ${generated_headers})

# service_code(TARGET): finds the headers of the libraries and those that were generated.
function(service_code target)
    add_dependencies(${target} tram_generated)
    target_include_directories(${target} SYSTEM PRIVATE ${service_include})
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:C>:-iquote${generated}>")
endfunction()

# What the generator writes isn't ours to warn about.
add_library(tram_generated_objects OBJECT ${generated_sources} ${CMAKE_BINARY_DIR}/empty.c)
service_code(tram_generated_objects)
target_compile_options(tram_generated_objects PRIVATE -w)

# --- libtram-service.so: linked twice, as libtram -------------------------------------------------

sources(service_sources src/worker src/service src/topic src/transport src/wire)
add_library(tram_service_objects OBJECT ${service_sources} ${CMAKE_BINARY_DIR}/empty.c)
service_code(tram_service_objects)
include(GNUInstallDirs)
target_compile_definitions(tram_service_objects PRIVATE
                           TRAMD_PATH="${CMAKE_INSTALL_FULL_BINDIR}/tramd"
                           TRAM_VERSION="${PROJECT_VERSION}")

# Inside only: tramd, the tests. What it needs of src/sys and src/ring is in tram_static.
add_library(tram_service_static STATIC $<TARGET_OBJECTS:tram_service_objects>
            $<TARGET_OBJECTS:tram_generated_objects>)
target_link_libraries(tram_service_static PUBLIC tram_static ${UV_LIBRARY} ${PROTOBUF_C_LIBRARY})
set_target_properties(tram_service_static PROPERTIES
                      ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/inside)

# What src/sys has for it, hidden: the linker takes what is used.
sources(sys_sources src/sys)
list(FILTER sys_sources EXCLUDE REGEX "/src/sys/machine\\.c$")
add_library(tram_service_sys STATIC ${sys_sources})
set_target_properties(tram_service_sys PROPERTIES
                      ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/inside)

add_library(tram_service_shared SHARED $<TARGET_OBJECTS:tram_service_objects>
            $<TARGET_OBJECTS:tram_generated_objects>)
target_link_libraries(tram_service_shared PUBLIC tram_shared PRIVATE tram_service_sys ${UV_LIBRARY}
                      ${PROTOBUF_C_LIBRARY} Threads::Threads)
set(map ${CMAKE_SOURCE_DIR}/src/libtram-service.map)
target_link_options(tram_service_shared PRIVATE -Wl,--version-script=${map} -Wl,--as-needed)
if(NOT TRAM_SANITIZE)
    target_link_options(tram_service_shared PRIVATE -Wl,-z,defs)
endif()
set_target_properties(tram_service_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0
                      OUTPUT_NAME tram-service EXPORT_NAME service LINK_DEPENDS ${map}
                      BUILD_RPATH_USE_ORIGIN ON)   # installed, it has no path in it

include(cmake/tls.cmake)

# --- tramd ----------------------------------------------------------------------------------------

# All but main.c is a library of its own, so that the tests of src/daemon link it.
sources(daemon_sources src/daemon)
list(FILTER daemon_sources EXCLUDE REGEX "/src/daemon/main\\.c$")
add_library(tram_daemon STATIC ${daemon_sources} ${CMAKE_BINARY_DIR}/empty.c)
service_code(tram_daemon)
target_compile_definitions(tram_daemon PRIVATE TRAM_VERSION="${PROJECT_VERSION}")
target_link_libraries(tram_daemon PUBLIC tram_tls tram_service_static tram_observe tram_static)
set_target_properties(tram_daemon PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/inside)

file(GLOB daemon_main CONFIGURE_DEPENDS src/daemon/main.c)
if(daemon_main)
    add_executable(tramd ${daemon_main})
    service_code(tramd)
    target_compile_definitions(tramd PRIVATE TRAM_VERSION="${PROJECT_VERSION}")
    target_link_libraries(tramd PRIVATE tram_daemon)
    if(TRAM_COVERAGE)
        target_sources(tramd PRIVATE tests/support/coverage.c)
        target_link_options(tramd PRIVATE -Wl,--wrap=_exit,--wrap=kill)
    endif()
endif()
