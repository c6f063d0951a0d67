# What is installed, and where: libraries, headers, the tool, what pkg-config and find_package() ask
# for, pages, completions. Man pages, completions and bindings are found, not listed.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tram)

# --- Libraries and headers ------------------------------------------------------------------------

# The libraries are exported apart, so that a tree without libtram.a is whole, too.
install(TARGETS tram_shared EXPORT tram-shared
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT tram-shared NAMESPACE tram:: DESTINATION ${package_dir})
if(TRAM_INSTALL_STATIC)
    install(TARGETS tram_archive EXPORT tram-static
            INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
    install(EXPORT tram-static NAMESPACE tram:: DESTINATION ${package_dir})
endif()
set(left_out "")
if(TRAM_SERVICE)
    install(TARGETS tram_service_shared EXPORT tram-service
            INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
    install(EXPORT tram-service NAMESPACE tram:: DESTINATION ${package_dir})
    install(FILES cmake/tram-protobuf.cmake cmake/tram-descriptors.cmake
            DESTINATION ${package_dir})
    if(TRAM_TLS)
        # It is loaded by its full name; nobody links with it.
        install(TARGETS tram_tls_shared LIBRARY NAMELINK_SKIP)
    endif()
else()
    file(GLOB service_headers RELATIVE ${CMAKE_SOURCE_DIR}/include/tram CONFIGURE_DEPENDS
         ${CMAKE_SOURCE_DIR}/include/tram/*.h)
    list(REMOVE_ITEM service_headers tram.h)
    foreach(name ${service_headers})
        list(APPEND left_out PATTERN ${name} EXCLUDE)
    endforeach()
endif()
install(DIRECTORY include/tram DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp" ${left_out})

# --- find_package(tram) ---------------------------------------------------------------------------

# Within a major version functions are added and none is changed (HACKING.md).
write_basic_package_version_file(${CMAKE_BINARY_DIR}/tram-config-version.cmake
                                 COMPATIBILITY SameMajorVersion)
install(FILES cmake/tram-config.cmake ${CMAKE_BINARY_DIR}/tram-config-version.cmake
        DESTINATION ${package_dir})

# --- pkg-config -----------------------------------------------------------------------------------

# Written when it is installed: only then the prefix is known (cmake --install --prefix).
install(CODE "
set(version ${PROJECT_VERSION})
set(libdir \"${CMAKE_INSTALL_LIBDIR}\")
set(includedir \"${CMAKE_INSTALL_INCLUDEDIR}\")
set(private_libraries \"${CMAKE_THREAD_LIBS_INIT}\")
set(templates \"${CMAKE_SOURCE_DIR}/cmake\")
set(output \"${CMAKE_BINARY_DIR}\")
")
install(SCRIPT cmake/pkgconfig.cmake)
install(FILES ${CMAKE_BINARY_DIR}/tram.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(TRAM_SERVICE)
    install(FILES ${CMAKE_BINARY_DIR}/tram-service.pc
            DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

# --- The tool, its completions, pages -------------------------------------------------------------

foreach(program tram tramd)
    if(TARGET ${program})
        install(TARGETS ${program})
    endif()
endforeach()

file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/man/man[1-9]/*.[1-9])
foreach(page ${pages})
    string(REGEX MATCH "[1-9]$" section ${page})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

install(FILES completion/tram.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions
        RENAME tram OPTIONAL)
install(FILES completion/_tram DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions OPTIONAL)

# --- The daemon: completions, units, an example of its config -------------------------------------

if(TARGET tramd)
    install(FILES completion/tramd.bash RENAME tramd
            DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
    install(FILES completion/_tramd DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
    install(FILES systemd/tramd.conf DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
    install(CODE "
set(bindir \"${CMAKE_INSTALL_BINDIR}\")
set(units \"${CMAKE_SOURCE_DIR}/systemd\")
set(output \"${CMAKE_BINARY_DIR}\")
")
    install(SCRIPT cmake/units.cmake)
    # Not libdir: systemd looks in no folder of an architecture.
    install(FILES ${CMAKE_BINARY_DIR}/systemd/system/tramd@.service DESTINATION lib/systemd/system)
    install(FILES ${CMAKE_BINARY_DIR}/systemd/user/tramd.service DESTINATION lib/systemd/user)
endif()

# --- Documents ------------------------------------------------------------------------------------

file(GLOB documents CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/*.md)
install(FILES README.md README.zh-CN.md NEWS.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${documents} DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs)
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.c"
        PATTERN "*.cpp" PATTERN "*.py" PATTERN "*.proto")

# --- The Python binding ---------------------------------------------------------------------------

set(TRAM_PYTHON_DIR "" CACHE STRING "where the Python binding goes, below the prefix; empty: where
the prefix's python3 looks")
install(CODE "
set(python_package \"${CMAKE_SOURCE_DIR}/bindings/python/tram\")
set(python_dir \"${TRAM_PYTHON_DIR}\")
")
install(SCRIPT cmake/python.cmake)
