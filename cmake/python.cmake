# Run at installation, when the prefix is known: the Python binding, plain files, goes where the
# python3 of that prefix looks. `python_dir` (TRAM_PYTHON_DIR) says where instead, below the prefix.
#
#   /usr         lib/python3/dist-packages on Debian: there for all versions
#   elsewhere    lib/python3.11/site-packages; dist-packages in /usr/local of Debian

if(NOT python_dir)
    find_program(python3 python3 PATHS /usr/bin NO_DEFAULT_PATH)
    find_program(python3 python3)
    set(python_dir lib/python3/dist-packages)
    if(CMAKE_INSTALL_PREFIX STREQUAL "/usr" AND EXISTS /etc/debian_version)
    elseif(python3)
        execute_process(COMMAND ${python3} -c "import sys
print('lib/python%d.%d' % sys.version_info[:2])"
                        OUTPUT_VARIABLE lib OUTPUT_STRIP_TRAILING_WHITESPACE)
        set(python_dir ${lib}/site-packages)
        if(CMAKE_INSTALL_PREFIX STREQUAL "/usr/local" AND EXISTS /etc/debian_version)
            set(python_dir ${lib}/dist-packages)
        endif()
    endif()
endif()

file(INSTALL ${python_package} DESTINATION ${CMAKE_INSTALL_PREFIX}/${python_dir}
     FILES_MATCHING PATTERN "*.py" PATTERN "py.typed" PATTERN "__pycache__" EXCLUDE)
