# Each installed header compiles alone, as strict C99 and, where there is a C++ compiler, as C++11.

# one_dialect(TARGET SUFFIX HEADER…): an object library of one unit per header.
function(one_dialect target suffix)
    set(units "")
    foreach(header ${ARGN})
        cmake_path(GET header STEM name)
        set(unit ${CMAKE_BINARY_DIR}/headers/${name}.${suffix})
        file(CONFIGURE OUTPUT ${unit} CONTENT
             "#include <tram/${name}.h>\n#include <tram/${name}.h>\nextern int tram_nothing;\n")
        list(APPEND units ${unit})
    endforeach()
    add_library(${target} OBJECT ${units})
endfunction()

file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/include/tram/*.h)

if(headers)
    one_dialect(headers_c99 c ${headers})
    set_target_properties(headers_c99 PROPERTIES C_STANDARD 99 C_EXTENSIONS OFF)
    target_compile_options(headers_c99 PRIVATE -Wpedantic -U_GNU_SOURCE)
endif()

if(headers AND CMAKE_CXX_COMPILER AND NOT CMAKE_CROSSCOMPILING)
    one_dialect(headers_cxx cc ${headers})
    set_target_properties(headers_cxx PROPERTIES CXX_STANDARD 11 CXX_EXTENSIONS OFF)
    target_compile_options(headers_cxx PRIVATE -Wall -Wextra -Wpedantic -Wold-style-cast)
endif()
