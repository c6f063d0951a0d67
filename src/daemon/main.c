/* SPDX-License-Identifier: MIT
 *
 * tramd: arguments.
 */
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/exit.h"
#include "daemon/log.h"
#include "sys/spawn.h"
#ifdef TRAM_TLS
#include "tls/maker.h"
#endif

static const char help[] =
    "usage: tramd [OPTIONS]\n"
    "\n"
    "The host daemon of a bus: keeps the names of services, and tells who serves them. One for\n"
    "each bus of a host. Killing it, and starting it again, stops nothing between services and\n"
    "their clients.\n"
    "\n"
    "  --config FILE   read this; without it $XDG_CONFIG_HOME/tram/tramd.conf,\n"
    "                  ~/.config/tram/tramd.conf or /etc/tram/tramd.conf, if there is one\n"
    "  --check-config  read the config file, say what is wrong with it, and end\n"
    "  --keys FILE     be the host whose keys these are ('tram keys'), of its cluster\n"
    "  --listen LIST   addresses at which other hosts connect; without it 127.0.0.1\n"
    "  --host-server A  where the host server is: NAME@ADDRESS, or 'here'\n"
    "  --auto          go into the background, and end when nobody has needed it for a while\n"
    "  --journal       lines with the level in front, as journald wants them\n"
    "  --bus NAME      the bus (TRAM_BUS, or default)\n"
    "  --dir DIR       where buses lie (TRAM_DIR, or /dev/shm/tram-UID)\n"
    "  --help          show this\n"
    "  --version       show the version\n"
    "\n"
    "Signals: SIGHUP reads the config file again; SIGTERM and SIGINT end it.\n"
    "\n"
    "Examples:\n"
    "  tramd\n"
    "  tramd --bus plant --config /etc/plant/tramd.conf\n"
    "  tramd --check-config\n"
    "  tramd --keys beta.keys --listen 10.0.0.2 --host-server alpha@10.0.0.1\n";

__attribute__((format(printf, 1, 2), noreturn)) static void usage(const char *format, ...) {
    va_list arguments;

    (void) fputs("tramd: ", stderr);
    va_start(arguments, format);
    (void) vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void) fputs("\nSee tramd --help.\n", stderr);
    exit(EXIT_CODE_USAGE);
}

/* The first config file that is there, or NULL. */
static const char *find_config(void) {
    static char path[4096];
    const char *home = getenv("HOME"), *config = getenv("XDG_CONFIG_HOME");

    for (int i = 0; i < 3; i++) {
        int size = -1;

        if (i == 0 && config && *config == '/')
            size = snprintf(path, sizeof(path), "%s/tram/tramd.conf", config);
        else if (i == 1 && home && *home == '/')
            size = snprintf(path, sizeof(path), "%s/.config/tram/tramd.conf", home);
        else if (i == 2)
            size = snprintf(path, sizeof(path), "/etc/tram/tramd.conf");
        if (size > 0 && (size_t) size < sizeof(path) && access(path, F_OK) == 0)
            return path;
    }
    return NULL;
}

static int check_config(const char *path) {
    struct settings settings = { 0 };
    struct wrong wrong = { 0 };
    int rc = path ? settings_read(path, &settings, &wrong) : 0;

    if (rc < 0 && wrong.line > 0)
        (void) fprintf(stderr, "tramd: %s, line %d: %s\n", path, wrong.line, wrong.text);
    else if (rc < 0)
        (void) fprintf(stderr, "tramd: %s: %s\n", path, wrong.text);
    else
        (void) printf("%s\n", path ? path : "there is no config file");
    if (rc == 0 && path)
        settings_reset(&settings);
    return rc < 0 ? EXIT_CODE_USAGE : EXIT_CODE_OK;
}

enum { BUS = 0x100, DIR, CONFIG, KEYS, LISTEN, HOST_SERVER, CHECK, AUTO, JOURNAL, VERSION };

static const struct option options[] = {
    { "bus", required_argument, NULL, BUS },
    { "dir", required_argument, NULL, DIR },
    { "config", required_argument, NULL, CONFIG },
    { "keys", required_argument, NULL, KEYS },
    { "listen", required_argument, NULL, LISTEN },
    { "host-server", required_argument, NULL, HOST_SERVER },
    { "check-config", no_argument, NULL, CHECK },
    { "auto", no_argument, NULL, AUTO },
    { "journal", no_argument, NULL, JOURNAL },
    { "version", no_argument, NULL, VERSION },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

int main(int argc, char **argv) {
    struct daemon_options chosen = { 0 };
    bool check = false;
    int option;

    opterr = 0; /* we say it ourselves */
    while ((option = getopt_long(argc, argv, "hV", options, NULL)) >= 0) {
        switch (option) {
        case BUS:
            chosen.bus = optarg;
            break;
        case DIR:
            chosen.dir = optarg;
            break;
        case CONFIG:
            chosen.config = optarg;
            break;
        case KEYS:
            chosen.keys = optarg;
            break;
        case LISTEN:
            chosen.listen = optarg;
            break;
        case HOST_SERVER:
            chosen.host_server = optarg;
            break;
        case 'h':
            (void) fputs(help, stdout);
            return fflush(stdout) == 0 ? EXIT_CODE_OK : EXIT_CODE_FAILURE;
        case 'V':
        case VERSION:
            (void) puts("tramd " TRAM_VERSION);
            return fflush(stdout) == 0 ? EXIT_CODE_OK : EXIT_CODE_FAILURE;
        case '?':
            usage("there is no option %s, or it is used wrongly", argv[optind - 1]);
        }
        check |= option == CHECK;
        chosen.automatic |= option == AUTO;
        chosen.journal |= option == JOURNAL;
    }
    if (optind < argc)
        usage("'%s' is one argument too many", argv[optind]);
    if (!chosen.config)
        chosen.config = find_config();
    if (check)
        return check_config(chosen.config);
#ifdef TRAM_TLS
    security_built_in(&tram_tls_maker);
#endif
    (void) signal(SIGPIPE, SIG_IGN); /* whoever reads what we log may go */
    log_set_journal(chosen.journal);
    if (chosen.automatic) {
        static char path[PATH_MAX];

        /* In the background it stays in nobody's directory. */
        if (chosen.config && realpath(chosen.config, path))
            chosen.config = path;
        if (sys_detach() < 0)
            return EXIT_CODE_FAILURE;
    }
    return daemon_run(&chosen);
}
