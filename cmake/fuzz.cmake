# Fuzz targets: each fuzz/NAME.c. With -DTRAM_FUZZ=ON (Clang; tools/fuzz.sh) a libFuzzer program
# build/fuzz/NAME, else a test fuzz-NAME that replays fuzz/corpus/NAME. What several share is in
# fuzz/NAME_support.c.

file(GLOB targets CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/fuzz/*.c)
list(FILTER targets EXCLUDE REGEX "/replay\\.c$|_support\\.c$")
file(GLOB fuzz_support CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/fuzz/*_support.c)
without_service(targets)
without_service(fuzz_support)
add_library(fuzz_support STATIC ${fuzz_support})
target_link_libraries(fuzz_support PRIVATE tram_static)
set_target_properties(fuzz_support PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/inside)

if(NOT TRAM_REFLECT)
    list(FILTER targets EXCLUDE REGEX "/descriptors\\.c$")
endif()
add_custom_target(fuzz)
foreach(source ${targets})
    cmake_path(GET source STEM name)
    if(TRAM_FUZZ)
        add_executable(fuzz-${name} ${source})
        target_link_options(fuzz-${name} PRIVATE -fsanitize=fuzzer)
    else()
        add_executable(fuzz-${name} ${source} ${CMAKE_SOURCE_DIR}/fuzz/replay.c)
        if(EXISTS ${CMAKE_SOURCE_DIR}/fuzz/corpus/${name})
            add_test(NAME fuzz-${name}
                COMMAND fuzz-${name} ${CMAKE_SOURCE_DIR}/fuzz/corpus/${name})
            math(EXPR scaled "60 * ${TRAM_TIME_SCALE}")
            set_tests_properties(fuzz-${name} PROPERTIES TIMEOUT ${scaled} LABELS fuzz
                ENVIRONMENT UBSAN_OPTIONS=print_stacktrace=1)
        endif()
    endif()
    add_dependencies(fuzz fuzz-${name})
    set_target_properties(fuzz-${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
    uses_service(of_services ${source})
    if(of_services)
        service_code(fuzz-${name})
        typed_code(fuzz-${name} ${source})
        target_link_libraries(fuzz-${name} PRIVATE fuzz_support harness tram_daemon
                              tram_service_static)
    endif()
    file(STRINGS ${source} of_reflect REGEX "^#include \"cli/reflect\\.h\"")
    if(of_reflect)
        target_link_libraries(fuzz-${name} PRIVATE tram_reflect)
    endif()
    target_link_libraries(fuzz-${name} PRIVATE fuzz_support harness tram_observe tram_static)
endforeach()
