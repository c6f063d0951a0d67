# Finds the tests. Three kinds:
#
#   src/FOLDER/NAME_test.c           unit test beside the code      ctest name FOLDER-NAME_test
#   tests/NAME_test.c                several processes              ctest name NAME_test
#   tests/NAME_test.cpp              the same, in C++ (cxx.cmake)   ctest name NAME_test
#   tests/NAME_test.sh, NAME_test.py the programs from outside      ctest name NAME_test.sh
#
# Programs are built into build/tests. tests/NAME_prog.c is a helper program there, not a test.
# What several tests share lies in tests/support/*.c, in the library of the harness.
#
# A program that includes a header of the second layer is linked with it, and left out where there
# is none (service.cmake).
#
# A comment line near the top of a test may say how it is run:
#
#   // test: timeout=120 label=slow serial cpus=2 link=shared       (scripts: # test: …)
#
#   timeout=SECONDS  of the whole program (default 30), times TRAM_TIME_SCALE
#   label=A,B        further ctest labels; 'soak' isn't run by make check, 'noasan', 'notsan' and
#                    'noclang' … keep a test out of that build
#   serial           no other test runs at the same time
#   cpus=N           counts as N running tests
#   link=shared      a program: link libtram.so and its public symbols only
#                    (and libtram-service.so, if it includes its headers)
#   wrap             a program: calls of the functions in tests/support/fault.names go to
#                    tests/support/fault.c

# test_tags(FILE): sets tag_timeout, tag_labels, tag_serial, tag_cpus, tag_shared and
# tag_wrap.
macro(test_tags file)
    set(tag_timeout 30)
    set(tag_labels "")
    set(tag_serial OFF)
    set(tag_cpus 1)
    set(tag_shared OFF)
    set(tag_wrap OFF)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(STRINGS ${file} tag_lines LIMIT_COUNT 1 REGEX "^(//|#| \\*) test: ")
    string(REGEX REPLACE "^(//|#| \\*) test: " "" tag_line "${tag_lines}")
    string(REGEX MATCHALL "[^ \t]+" tag_words "${tag_line}")
    foreach(word ${tag_words})
        if(word MATCHES "^timeout=([0-9]+)$")
            set(tag_timeout ${CMAKE_MATCH_1})
        elseif(word MATCHES "^label=(.+)$")
            string(REPLACE "," ";" tag_labels "${CMAKE_MATCH_1}")
        elseif(word STREQUAL "serial")
            set(tag_serial ON)
        elseif(word MATCHES "^cpus=([0-9]+)$")
            set(tag_cpus ${CMAKE_MATCH_1})
        elseif(word STREQUAL "link=shared")
            set(tag_shared ON)
        elseif(word STREQUAL "wrap")
            set(tag_wrap ON)
        else()
            message(FATAL_ERROR "${file}: '${word}' in its 'test:' line is unknown")
        endif()
    endforeach()
endmacro()

# test_properties(NAME LABEL…): what all kinds have in common; after test_tags.
macro(test_properties name)
    set(labels ${ARGN} ${tag_labels})
    math(EXPR scaled "${tag_timeout} * ${TRAM_TIME_SCALE}")
    set_tests_properties(${name} PROPERTIES
        TIMEOUT ${scaled}
        LABELS "${labels}"
        RUN_SERIAL ${tag_serial}
        PROCESSORS ${tag_cpus}
        SKIP_RETURN_CODE 77
        ENVIRONMENT "${test_environment}")
endmacro()

function(test_program name source)
    set(names ${CMAKE_SOURCE_DIR}/tests/support/fault.names)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${names})
    add_executable(${name} ${source})
    set_target_properties(${name} PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(${name} PRIVATE harness)
    if(source MATCHES "\\.cpp$")
        cxx_program(${name})
    endif()
    if(TRAM_COVERAGE)
        target_link_options(${name} PRIVATE
            -Wl,--wrap=_exit,--wrap=kill,--undefined=__wrap__exit)
    endif()
    if(tag_wrap)
        file(STRINGS ${names} wrapped REGEX "^wrap ")
        list(TRANSFORM wrapped REPLACE "^wrap +" "-Wl,--wrap=")
        target_link_options(${name} PRIVATE ${wrapped})
    endif()
    uses_service(of_services ${source})
    uses_tls(of_tls ${source})
    if(of_tls)
        target_link_libraries(${name} PRIVATE tram_tls)
    endif()
    if(of_services)
        service_code(${name})
        typed_code(${name} ${source})
        target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/uv_start.c)
        target_link_libraries(${name} PRIVATE ${UV_LIBRARY})
    endif()
    if(tag_shared AND of_services)
        target_link_libraries(${name} PRIVATE tram_service_shared tram_shared)
    elseif(tag_shared)
        target_link_libraries(${name} PRIVATE tram_shared)
    elseif(source MATCHES "/src/cli/")
        target_link_libraries(${name} PRIVATE tram_cli)
    elseif(of_services)
        target_link_libraries(${name} PRIVATE tram_daemon tram_service_static tram_observe
                              tram_static)
    else()
        target_link_libraries(${name} PRIVATE tram_observe tram_static)
    endif()
endfunction()

# without_service(VAR): takes the files out of the list that need what isn't there: the second
# layer, or TLS.
function(without_service var)
    set(kept "")
    foreach(source ${${var}})
        uses_service(of_services ${source})
        uses_tls(of_tls ${source})
        if((TRAM_SERVICE OR NOT of_services) AND (TRAM_TLS OR NOT of_tls))
            list(APPEND kept ${source})
        endif()
    endforeach()
    set(${var} ${kept} PARENT_SCOPE)
endfunction()

function(find_tests)
    set(test_environment
        TRAM_BIN=${CMAKE_BINARY_DIR}/bin/tram
        TRAM_BUILD=${CMAKE_BINARY_DIR}
        TRAM_SRC=${CMAKE_SOURCE_DIR}
        TRAM_CC=${CMAKE_C_COMPILER}
        TRAM_SANITIZER=${TRAM_SANITIZE}
        TRAM_SERVICE=${TRAM_SERVICE}
        TRAM_TLS=${TRAM_TLS}
        TRAM_COVERAGE=${TRAM_COVERAGE}
        TRAM_TIME_SCALE=${TRAM_TIME_SCALE}
        UBSAN_OPTIONS=print_stacktrace=1
        TSAN_OPTIONS=halt_on_error=1:die_after_fork=0
        PYTHONDONTWRITEBYTECODE=1)

    # What several tests share lies in tests/support/.
    file(GLOB support CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/*.c)
    without_service(support)
    add_library(harness STATIC ${CMAKE_SOURCE_DIR}/tests/harness.c ${support})
    if(TRAM_SERVICE)
        service_code(harness)
    endif()
    target_link_libraries(harness PUBLIC Threads::Threads)
    set_target_properties(harness PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/inside)

    file(GLOB_RECURSE unit CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/*_test.c)
    without_service(unit)
    foreach(source ${unit})
        cmake_path(GET source STEM stem)
        cmake_path(GET source PARENT_PATH folder)
        cmake_path(GET folder FILENAME folder)
        test_tags(${source})
        test_program(${folder}-${stem} ${source})
        add_test(NAME ${folder}-${stem} COMMAND ${folder}-${stem})
        test_properties(${folder}-${stem} unit ${folder})
    endforeach()

    file(GLOB programs CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/*_test.c
         ${CMAKE_SOURCE_DIR}/tests/*_prog.c)
    file(GLOB cxx_programs CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/*_test.cpp
         ${CMAKE_SOURCE_DIR}/tests/*_prog.cpp)
    if(TRAM_CXX)
        list(APPEND programs ${cxx_programs})
        if(NOT TRAM_SANITIZE) # what they make of the header, in the next dialect as well
            add_library(tests_cxx20 OBJECT ${CMAKE_SOURCE_DIR}/tests/cpp_test.cpp)
            set_target_properties(tests_cxx20 PROPERTIES CXX_STANDARD 20)
            cxx_program(tests_cxx20)
        endif()
    endif()
    without_service(programs)
    foreach(source ${programs})
        cmake_path(GET source STEM stem)
        test_tags(${source})
        test_program(${stem} ${source})
        if(stem MATCHES "_test$")
            add_test(NAME ${stem} COMMAND ${stem})
            test_properties(${stem} multi)
        endif()
    endforeach()

    # The library with another layout version: for version_test.
    add_executable(other_version tests/other_version.c ${library_sources})
    target_compile_definitions(other_version PRIVATE LAYOUT_VERSION=3u)
    target_link_libraries(other_version PRIVATE Threads::Threads)
    set_target_properties(other_version PROPERTIES
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)

    # The simulator: the link and the directory with faults to order compiled in
    # (src/wire/link_bug.h).
    if(TRAM_SERVICE)
        file(GLOB sim CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/sim/*.c
             ${CMAKE_SOURCE_DIR}/src/wire/*.c)
        list(FILTER sim EXCLUDE REGEX "_test\\.c$")
        add_executable(sim ${sim} $<TARGET_OBJECTS:tram_generated_objects>)
        service_code(sim)
        target_link_libraries(sim PRIVATE ${PROTOBUF_C_LIBRARY})
        target_compile_definitions(sim PRIVATE TRAM_BUGS)
        set_target_properties(sim PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
        set(worlds 2000)
        if(TRAM_SANITIZE OR CMAKE_CROSSCOMPILING OR NOT CMAKE_BUILD_TYPE STREQUAL Release)
            set(worlds 200)
        endif()
        add_test(NAME sim COMMAND sim --count ${worlds})
        set_tests_properties(sim PROPERTIES TIMEOUT 120 LABELS multi)
        add_test(NAME sim-known COMMAND sim --known)
        set_tests_properties(sim-known PROPERTIES TIMEOUT 60 LABELS multi)
        if(NOT TRAM_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
            add_test(NAME sim-bugs COMMAND sim --bugs --first --count 2000)
            set_tests_properties(sim-bugs PROPERTIES TIMEOUT 240 LABELS multi)
        endif()
    endif()

    file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/*_test.sh
         ${CMAKE_SOURCE_DIR}/tests/*_test.py)
    foreach(source ${scripts})
        cmake_path(GET source FILENAME name)
        test_tags(${source})
        if(name MATCHES "\\.py$")
            set(run python3 ${source})
        else()
            set(run bash ${source})
        endif()
        add_test(NAME ${name} COMMAND bash ${CMAKE_SOURCE_DIR}/tests/private_bus.sh ${run})
        test_properties(${name} script)
    endforeach()
endfunction()
