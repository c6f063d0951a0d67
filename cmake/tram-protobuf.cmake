# tram_protobuf_generate(TARGET target PROTOS file.proto… [IMPORT_DIRS dir…])
#
# Compiles .proto files into the target with protoc-c, and links it with protobuf-c. For each
# dir/NAME.proto there is then
#
#     #include "NAME.pb-c.h"         what protoc-c declares: messages, services
#     #include "NAME.descriptors.h"  NAME_descriptors[], NAME_descriptors_size: the file and all it
#                                    imports, for struct tram_server_options, so that tools know the
#                                    service. '_' stands for what is no letter or digit in NAME
#
# A file is named by its path below the first of IMPORT_DIRS that it lies in, without them by its
# own name. What it imports and what isn't among PROTOS, as google/protobuf/timestamp.proto, needs a
# call of its own, and a folder among IMPORT_DIRS.

find_program(PROTOC_C protoc-c)
find_path(PROTOBUF_C_INCLUDE protobuf-c/protobuf-c.h)
find_library(PROTOBUF_C_LIBRARY NAMES protobuf-c)
mark_as_advanced(PROTOC_C PROTOBUF_C_INCLUDE PROTOBUF_C_LIBRARY)
set(tram_protobuf_dir ${CMAKE_CURRENT_LIST_DIR})

function(tram_protobuf_generate)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "TARGET" "PROTOS;IMPORT_DIRS")
    if(NOT arg_TARGET OR NOT arg_PROTOS OR arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "tram_protobuf_generate(TARGET target PROTOS file… [IMPORT_DIRS dir…])")
    endif()
    if(NOT PROTOC_C OR NOT PROTOBUF_C_INCLUDE OR NOT PROTOBUF_C_LIBRARY)
        message(FATAL_ERROR "tram_protobuf_generate needs protoc-c and the library protobuf-c; on "
                            "Debian the packages protobuf-c-compiler and libprotobuf-c-dev")
    endif()
    set(out ${CMAKE_CURRENT_BINARY_DIR}/${arg_TARGET}.protobuf)
    file(MAKE_DIRECTORY ${out})

    set(protos "")
    foreach(proto ${arg_PROTOS})
        cmake_path(ABSOLUTE_PATH proto BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)
        list(APPEND protos ${proto})
    endforeach()
    set(dirs "")
    foreach(dir ${arg_IMPORT_DIRS})
        cmake_path(ABSOLUTE_PATH dir BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)
        string(REGEX REPLACE "/$" "" dir ${dir})
        list(APPEND dirs ${dir})
    endforeach()

    foreach(proto ${protos})
        cmake_path(GET proto FILENAME name)
        cmake_path(GET proto PARENT_PATH root)
        foreach(dir ${dirs})
            cmake_path(IS_PREFIX dir ${proto} NORMALIZE below)
            if(below)
                cmake_path(RELATIVE_PATH proto BASE_DIRECTORY ${dir} OUTPUT_VARIABLE name)
                set(root ${dir})
                break()
            endif()
        endforeach()
        string(REGEX REPLACE "\\.proto$" "" name ${name})
        string(REGEX REPLACE "[^A-Za-z0-9]" "_" symbol ${name})
        set(paths --proto_path=${root})
        foreach(dir ${dirs})
            list(APPEND paths --proto_path=${dir})
        endforeach()
        cmake_path(GET name PARENT_PATH folder)
        file(MAKE_DIRECTORY ${out}/${folder})
        set(made ${out}/${name}.pb-c.c ${out}/${name}.pb-c.h ${out}/${name}.descriptors.c
                 ${out}/${name}.descriptors.h)
        add_custom_command(
            OUTPUT ${made}
            COMMAND ${PROTOC_C} ${paths} --c_out=${out} --include_imports --include_source_info
                    --descriptor_set_out=${out}/${name}.set ${proto}
            COMMAND ${CMAKE_COMMAND} -DSET=${out}/${name}.set -DOUT=${out}/${name}.descriptors
                    -DSYMBOL=${symbol} -P ${tram_protobuf_dir}/tram-descriptors.cmake
            DEPENDS ${protos} ${tram_protobuf_dir}/tram-descriptors.cmake
            VERBATIM)
        # What a generator wrote isn't for its user to be warned about.
        set_source_files_properties(${made} PROPERTIES COMPILE_OPTIONS -w)
        target_sources(${arg_TARGET} PRIVATE ${made})
    endforeach()
    target_include_directories(${arg_TARGET} SYSTEM PUBLIC ${out} ${PROTOBUF_C_INCLUDE})
    target_link_libraries(${arg_TARGET} PUBLIC ${PROTOBUF_C_LIBRARY})
endfunction()
