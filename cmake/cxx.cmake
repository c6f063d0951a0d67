# C++ for the installed C++ header, its tests and its examples. TRAM_CXX says whether there is a
# compiler for it whose programs link with this build's library: that of the C compiler's family,
# for the same libc and processor, is looked for. Without one, C++ is left out.

set(TRAM_CXX OFF)
if(NOT CMAKE_CROSSCOMPILING AND NOT CMAKE_C_COMPILER MATCHES "musl")
    if(NOT CMAKE_CXX_COMPILER AND NOT DEFINED ENV{CXX})
        cmake_path(GET CMAKE_C_COMPILER FILENAME c_name)
        string(REGEX REPLACE "clang" "clang++" cxx_name "${c_name}")
        string(REGEX REPLACE "(^|-)(gcc|cc)" "\\1g++" cxx_name "${cxx_name}")
        find_program(TRAM_CXX_COMPILER NAMES ${cxx_name} g++ clang++ c++)
        if(TRAM_CXX_COMPILER)
            set(CMAKE_CXX_COMPILER ${TRAM_CXX_COMPILER})
        endif()
    endif()
    include(CheckLanguage)
    check_language(CXX)
    if(CMAKE_CXX_COMPILER)
        enable_language(CXX)
        if(CMAKE_CXX_COMPILER_ID STREQUAL CMAKE_C_COMPILER_ID)
            set(TRAM_CXX ON)
        endif()
    endif()
endif()
if(NOT TRAM_CXX)
    message(STATUS "left out: C++, for there is no compiler for it that goes with the C compiler")
endif()

set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g")   # no NDEBUG: a result that is used unseen stops the test
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g")

# What the header has to stand, and what it must not need.
set(cxx_options
    -Wall -Wextra -Wpedantic
    -Wconversion -Wsign-conversion  # the header casts where it means it
    -Wno-old-style-cast             # CHECK_EQ of the harness, TRAM_ID: C macros cast in C
    -fno-exceptions -fno-rtti
)

# cxx_program(TARGET): the flags of C++ tests and examples.
function(cxx_program target)
    target_compile_options(${target} PRIVATE ${cxx_options})
endfunction()
