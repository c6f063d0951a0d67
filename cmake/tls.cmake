# Keys and TLS: src/keys, src/tls. TRAM_TLS says whether they are built: they need the second layer
# and OpenSSL 3. tramd, the tool and the tests have them inside; libtram-service.so loads
# libtram-tls.so when keys are first asked for, and so needs no OpenSSL.

set(TRAM_TLS OFF)
if(TRAM_SERVICE)
    find_path(OPENSSL_INCLUDE openssl/ssl.h)
    find_library(SSL_LIBRARY NAMES ssl)
    find_library(CRYPTO_LIBRARY NAMES crypto)
    mark_as_advanced(OPENSSL_INCLUDE SSL_LIBRARY CRYPTO_LIBRARY)
    if(OPENSSL_INCLUDE AND SSL_LIBRARY AND CRYPTO_LIBRARY)
        include(CMakePushCheckState)
        include(CheckCSourceCompiles)
        cmake_push_check_state(RESET)
        set(CMAKE_REQUIRED_LIBRARIES ${SSL_LIBRARY} ${CRYPTO_LIBRARY})
        check_c_source_compiles("#include <openssl/ssl.h>
            #include <openssl/evp.h>
            int main(void)
            {
                return EVP_PKEY_Q_keygen(0, 0, \"ED25519\") == 0 || SSL_CTX_new(TLS_method()) == 0;
            }" TRAM_TLS_LINKS)
        cmake_pop_check_state()
        if(TRAM_TLS_LINKS)
            set(TRAM_TLS ON)
        endif()
    endif()
    if(NOT TRAM_TLS)
        message(STATUS "left out: TLS and 'tram keys', for there is no OpenSSL 3")
    endif()
endif()

# uses_tls(VAR FILE): does this C file need it? As its #include lines say.
function(uses_tls var file)
    file(STRINGS ${file} lines REGEX "^#include [<\"](keys|tls|openssl)/")
    set(${var} OFF PARENT_SCOPE)
    if(lines)
        set(${var} ON PARENT_SCOPE)
    endif()
endfunction()

# Who has it inside has it as tram_tls, and TRAM_TLS as a macro; others know it is not there.
add_library(tram_tls INTERFACE)
if(NOT TRAM_TLS)
    return()
endif()

sources(tls_sources src/keys src/tls)
add_library(tram_tls_objects OBJECT ${tls_sources})
target_compile_definitions(tram_tls_objects PRIVATE TRAM_VERSION="${PROJECT_VERSION}")
add_library(tram_tls_static STATIC $<TARGET_OBJECTS:tram_tls_objects>)
target_link_libraries(tram_tls_static PUBLIC tram_service_static ${SSL_LIBRARY} ${CRYPTO_LIBRARY})
set_target_properties(tram_tls_static PROPERTIES
                      ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/inside)
target_link_libraries(tram_tls INTERFACE tram_tls_static)
target_compile_definitions(tram_tls INTERFACE TRAM_TLS)

# What it needs of other folders is in it, hidden.
add_library(tram_tls_shared SHARED $<TARGET_OBJECTS:tram_tls_objects>)
set(map ${CMAKE_SOURCE_DIR}/src/libtram-tls.map)
target_link_libraries(tram_tls_shared PRIVATE tram_service_static ${SSL_LIBRARY} ${CRYPTO_LIBRARY})
target_link_options(tram_tls_shared PRIVATE -Wl,--version-script=${map} -Wl,--as-needed)
if(NOT TRAM_SANITIZE)
    target_link_options(tram_tls_shared PRIVATE -Wl,-z,defs)
endif()
set_target_properties(tram_tls_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0
                      OUTPUT_NAME tram-tls LINK_DEPENDS ${map})
