# The verbs of the tool that are for services, in cli_sources: where the second layer isn't built,
# service_none.c stands in for them; where there is no libprotobuf, or no C++ compiler for it,
# reflect_none.c for reflect.cpp.

set(of_services "")
set(stand_ins ${CMAKE_SOURCE_DIR}/src/cli/service_none.c)
foreach(source ${cli_sources})
    uses_service(it ${source})
    if(it OR source MATCHES "/src/cli/(ping|pub|sub|wait|call|describe|ls_[a-z]+|service)\\.c$"
       OR source MATCHES "/src/cli/(ask|cluster|doctor_hosts|hosts|links|ping_hosts)\\.c$"
       OR source MATCHES "/src/cli/(forget|takeover|top_hosts|trace|trace_text)\\.c$")
        list(APPEND of_services ${source})
    endif()
endforeach()
list(REMOVE_ITEM cli_sources ${CMAKE_SOURCE_DIR}/src/cli/reflect_none.c)
if(TRAM_SERVICE)
    list(REMOVE_ITEM cli_sources ${stand_ins})
else()
    list(REMOVE_ITEM cli_sources ${of_services})
endif()

if(TRAM_TLS)
    list(REMOVE_ITEM cli_sources ${CMAKE_SOURCE_DIR}/src/cli/keys_none.c)
else()
    list(REMOVE_ITEM cli_sources ${CMAKE_SOURCE_DIR}/src/cli/keys.c)
endif()

set(TRAM_REFLECT OFF)
if(TRAM_SERVICE AND TRAM_CXX)
    find_path(PROTOBUF_INCLUDE google/protobuf/util/json_util.h)
    find_library(PROTOBUF_LIBRARY NAMES protobuf)
    mark_as_advanced(PROTOBUF_INCLUDE PROTOBUF_LIBRARY)
    if(PROTOBUF_INCLUDE AND PROTOBUF_LIBRARY)
        include(CMakePushCheckState)
        include(CheckCXXSourceCompiles)
        cmake_push_check_state(RESET)
        set(CMAKE_REQUIRED_LIBRARIES ${PROTOBUF_LIBRARY} Threads::Threads)
        check_cxx_source_compiles("#include <google/protobuf/dynamic_message.h>
            #include <google/protobuf/util/json_util.h>
            int main()
            {
                google::protobuf::util::JsonPrintOptions options;
                options.always_print_primitive_fields = true;
                google::protobuf::DynamicMessageFactory factory;
                return 0;
            }" TRAM_REFLECT_LINKS)
        cmake_pop_check_state()
        if(TRAM_REFLECT_LINKS)
            set(TRAM_REFLECT ON)
        endif()
    endif()
endif()

if(TRAM_REFLECT)
    add_library(tram_reflect STATIC ${CMAKE_SOURCE_DIR}/src/cli/reflect.cpp)
    target_compile_options(tram_reflect PRIVATE -iquote${CMAKE_SOURCE_DIR}/src -Wall -Wextra)
    target_link_libraries(tram_reflect PUBLIC ${PROTOBUF_LIBRARY})
else()
    message(STATUS "left out: JSON for services in the tool, for there is no libprotobuf")
    add_library(tram_reflect STATIC ${CMAKE_SOURCE_DIR}/src/cli/reflect_none.c)
endif()
set_target_properties(tram_reflect PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/inside)
