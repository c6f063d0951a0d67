/* SPDX-License-Identifier: MIT
 *
 * tram keys: the CA of a cluster, and the keys of its hosts.
 */
#include "keys/authority.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>

#include "cli/buf.h"
#include "cli/cli.h"

#define DAY        INT64_C(86400)
#define SOON       (30 * DAY) /* near its end */
#define CA_DAYS    3650
#define HOST_DAYS  365
#define SECRET_MAX 256

struct keys {
    const char *folder, *out, *passphrase_file;
    const char *addresses[AUTHORITY_ADDRESSES + 1];
    int address_count;
    uint32_t days; /* 0: the default */
    bool program, force, passphrase, ca, json;
    char secret[SECRET_MAX];
    struct authority *authority;
    struct wrong wrong;
};

static enum cli_exit failed(struct keys *keys, int rc) {
    cli_error("%s", keys->wrong.text);
    switch (rc) {
    case -ENOENT:
        return CLI_NOT_FOUND;
    case -EEXIST:
    case -EBUSY:
        return CLI_REFUSED;
    case -EINVAL:
        return CLI_USAGE;
    default:
        return CLI_FAILURE;
    }
}

static int64_t now_seconds(void) {
    return time(NULL);
}

/* ---- the passphrase -------------------------------------------------------------------------- */

/* A line without its end. */
static bool read_line(FILE *file, char *line) {
    if (!fgets(line, SECRET_MAX, file))
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    return *line != '\0';
}

static bool ask(const char *question, char *line) {
    FILE *terminal = fopen("/dev/tty", "r+");
    struct termios before, silent;
    bool quiet, done;

    if (!terminal) {
        cli_error("there is no terminal to ask for the passphrase: --passphrase-file FILE");
        return false;
    }
    quiet = tcgetattr(fileno(terminal), &before) == 0;
    silent = before;
    silent.c_lflag &= ~(tcflag_t) ECHO;
    if (quiet)
        (void) tcsetattr(fileno(terminal), TCSAFLUSH, &silent);
    (void) fprintf(terminal, "%s: ", question);
    (void) fflush(terminal);
    done = read_line(terminal, line);
    if (quiet)
        (void) tcsetattr(fileno(terminal), TCSAFLUSH, &before);
    (void) fputs("\n", terminal);
    (void) fclose(terminal);
    if (!done)
        cli_error("no passphrase was given");
    return done;
}

static bool from_file(struct keys *keys) {
    bool in = strcmp(keys->passphrase_file, "-") == 0, done;
    FILE *file = in ? stdin : fopen(keys->passphrase_file, "r");

    if (!file) {
        cli_error("%s: %s", keys->passphrase_file, strerror(errno));
        return false;
    }
    done = read_line(file, keys->secret);
    if (!in)
        (void) fclose(file);
    if (!done)
        cli_error("%s has no passphrase in its first line", keys->passphrase_file);
    return done;
}

/* Of a new CA; twice, for nobody sees it. */
static bool new_secret(struct keys *keys) {
    char again[SECRET_MAX];

    if (keys->passphrase_file)
        return from_file(keys);
    if (!keys->passphrase)
        return true;
    if (!ask("Passphrase of the CA", keys->secret) || !ask("The same again", again))
        return false;
    if (strcmp(keys->secret, again) == 0)
        return true;
    cli_error("these are not the same");
    return false;
}

/* Ready to sign. */
static bool unlock(struct keys *keys, enum cli_exit *ret_code) {
    int rc = authority_open(keys->folder, &keys->authority, &keys->wrong);

    *ret_code = CLI_FAILURE;
    if (rc == 0 && keys->passphrase_file && !from_file(keys))
        return false;
    if (rc == 0)
        rc = authority_unlock(keys->authority, keys->passphrase_file ? keys->secret : NULL,
                              &keys->wrong);
    if (rc == -ENOKEY) {
        if (!ask("Passphrase of the CA", keys->secret))
            return false;
        rc = authority_unlock(keys->authority, keys->secret, &keys->wrong);
    }
    if (rc < 0)
        *ret_code = failed(keys, rc);
    return rc == 0;
}

/* ---- init ------------------------------------------------------------------------------------ */

static enum cli_exit keys_init(struct keys *keys, char **names) {
    int rc;

    if (!names[0] || names[1])
        cli_usage("init takes the name of the cluster");
    if (!new_secret(keys))
        return CLI_FAILURE;
    rc = authority_make(keys->folder, names[0], *keys->secret ? keys->secret : NULL, now_seconds(),
                        keys->days > 0 ? keys->days : CA_DAYS, &keys->wrong);
    if (rc < 0)
        return failed(keys, rc);
    (void) printf("The CA of the cluster %s is in %s. Keep it here, and a copy in a safe place:\n"
                  "whoever has ca.key can make hosts.\n", names[0], keys->folder);
    return cli_flushed(stdout, CLI_OK);
}

/* ---- host, renew ----------------------------------------------------------------------------- */

static enum cli_exit make_one(struct keys *keys, const char *name, bool replace) {
    struct authority_order order = {
        .name = name,
        .program = keys->program,
        .begins = now_seconds() - DAY, /* for hosts whose clock is behind */
        .ends = now_seconds() + (keys->days > 0 ? keys->days : HOST_DAYS) * DAY,
    };
    char path[CLI_PATH], *bundle;
    size_t size;
    int rc;

    memcpy(order.addresses, keys->addresses, sizeof(order.addresses));
    (void) snprintf(path, sizeof(path), "%s%s", keys->out ? keys->out : name,
                    keys->out ? "" : ".keys");
    if (!replace) {
        FILE *there = fopen(path, "r");

        if (there) {
            (void) fclose(there);
            cli_error("%s is there already; --force replaces it", path);
            return CLI_REFUSED;
        }
    }
    rc = authority_issue(keys->authority, &order, &bundle, &size, &keys->wrong);
    if (rc == 0) {
        rc = authority_write(path, bundle, size, true, &keys->wrong);
        explicit_bzero(bundle, size);
        free(bundle);
    }
    if (rc < 0)
        return failed(keys, rc);
    (void) printf("%s\n", path);
    return CLI_OK;
}

static enum cli_exit keys_host(struct keys *keys, char **names) {
    enum cli_exit code;

    if (!names[0])
        cli_usage("host takes the names of hosts");
    if (names[1] && (keys->out || keys->address_count > 0))
        cli_usage("--out and --address are of one host");
    if (!unlock(keys, &code))
        return code;
    for (code = CLI_OK; *names && code == CLI_OK; names++)
        code = make_one(keys, *names, keys->force);
    return cli_flushed(stdout, code);
}

struct newest {
    const char *name;
    bool found;
    struct authority_entry entry;
};

static int find_newest(void *context, const struct authority_entry *entry) {
    struct newest *newest = context;

    if (strcmp(entry->name, newest->name) == 0 &&
        (!newest->found || entry->ends > newest->entry.ends)) {
        newest->found = true;
        newest->entry = *entry;
    }
    return 0;
}

/* As the last one that it got; what is said now counts instead. */
static enum cli_exit renew_one(struct keys *keys, const char *name) {
    struct newest newest = { .name = name };
    int rc = authority_each(keys->authority, find_newest, &newest, &keys->wrong);
    char *rest = newest.entry.addresses;
    struct keys order = *keys;

    if (rc < 0)
        return failed(keys, rc);
    if (!newest.found) {
        cli_error("there is no certificate of '%s': 'tram keys host' makes one", name);
        return CLI_NOT_FOUND;
    }
    order.program = newest.entry.program;
    for (char *address; keys->address_count == 0 && order.address_count < AUTHORITY_ADDRESSES &&
                        (address = strsep(&rest, " "));)
        if (*address)
            order.addresses[order.address_count++] = address;
    order.addresses[order.address_count] = NULL;
    return make_one(&order, name, true);
}

static enum cli_exit keys_renew(struct keys *keys, char **names) {
    enum cli_exit code;
    int rc;

    if (!names[0] && !keys->ca)
        cli_usage("renew takes the names of hosts, or --ca");
    if (names[0] && names[1] && (keys->out || keys->address_count > 0))
        cli_usage("--out and --address are of one host");
    if (!unlock(keys, &code))
        return code;
    if (keys->ca) {
        rc = authority_renew(keys->authority, now_seconds(),
                             keys->days > 0 ? keys->days : CA_DAYS, &keys->wrong);
        if (rc < 0)
            return failed(keys, rc);
        keys->days = 0;
    }
    for (code = CLI_OK; *names && code == CLI_OK; names++)
        code = renew_one(keys, *names);
    return cli_flushed(stdout, code);
}

/* ---- revoke ---------------------------------------------------------------------------------- */

static enum cli_exit keys_revoke(struct keys *keys, char **names) {
    enum cli_exit code;
    int rc, count, total = 0;

    if (!names[0])
        cli_usage("revoke takes names of hosts, or serial numbers");
    if (!unlock(keys, &code))
        return code;
    for (; *names; names++) {
        rc = authority_revoke(keys->authority, *names, now_seconds(), &count, &keys->wrong);
        if (rc < 0)
            return failed(keys, rc);
        total += count;
    }
    (void) printf("%d revoked; the list is %s\n", total, authority_list(keys->authority));
    return cli_flushed(stdout, CLI_OK);
}

/* ---- show ------------------------------------------------------------------------------------ */

static const char *state_of(const struct authority_entry *entry) {
    int64_t left = entry->ends - now_seconds();

    return entry->revoked ? "revoked" : left <= 0 ? "ended" : left < SOON ? "ends soon" : "good";
}

static void date_of(int64_t seconds, char *text, size_t size) {
    time_t when = seconds;
    struct tm parts;

    if (!gmtime_r(&when, &parts) || strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        text[0] = '\0';
}

static const char *kind_of(const struct authority_entry *entry) {
    return !entry->name[0] ? "ca" : entry->program ? "program" : "host";
}

/* What comes from a file is shown as text only. */
static int show_json(struct keys *keys, const struct authority_entry *entry) {
    char begins[32], ends[32];
    static bool any;

    (void) keys;
    date_of(entry->begins, begins, sizeof(begins));
    date_of(entry->ends, ends, sizeof(ends));
    (void) printf("%s{\"kind\":\"%s\",\"name\":\"%s\",\"cluster\":\"%s\",\"state\":\"%s\","
                  "\"begins\":\"%s\",\"ends\":\"%s\",\"days_left\":%lld,\"serial\":\"%s\","
                  "\"sha256\":\"%s\",\"addresses\":\"%s\"}",
                  any ? "," : "", kind_of(entry), entry->name, entry->cluster, state_of(entry),
                  begins, ends, (long long) ((entry->ends - now_seconds()) / DAY), entry->serial,
                  entry->print, entry->addresses);
    any = true;
    return 0;
}

static int show_one(void *context, const struct authority_entry *entry) {
    struct keys *keys = context;
    char begins[32], ends[32];

    if (keys->json)
        return show_json(keys, entry);
    date_of(entry->begins, begins, sizeof(begins));
    date_of(entry->ends, ends, sizeof(ends));
    (void) printf("%-20s %-8s %.10s to %.10s  %s%s%s\n"
                  "    serial %s\n"
                  "    SHA-256 %s\n",
                  entry->name[0] ? entry->name : entry->cluster, kind_of(entry), begins, ends,
                  state_of(entry), entry->addresses[0] ? ", at " : "", entry->addresses,
                  entry->serial, entry->print);
    return 0;
}

static enum cli_exit keys_show(struct keys *keys, char **names) {
    int rc = 0;

    if (keys->json)
        (void) fputs("[", stdout);
    if (!names[0]) {
        rc = authority_open(keys->folder, &keys->authority, &keys->wrong);
        if (rc == 0)
            rc = authority_each(keys->authority, show_one, keys, &keys->wrong);
    }
    for (; rc == 0 && *names; names++)
        rc = authority_each_in(*names, show_one, keys, &keys->wrong);
    if (keys->json)
        (void) fputs("]\n", stdout);
    return cli_flushed(stdout, rc < 0 ? failed(keys, rc) : CLI_OK);
}

/* ---- the verb -------------------------------------------------------------------------------- */

static const char *default_folder(void) {
    static char path[CLI_PATH];
    const char *folder = getenv("TRAM_KEYS_DIR"), *config = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");

    if (folder && *folder)
        return folder;
    if (config && *config == '/')
        (void) snprintf(path, sizeof(path), "%s/tram/keys", config);
    else if (home && *home == '/')
        (void) snprintf(path, sizeof(path), "%s/.config/tram/keys", home);
    else
        cli_usage("there is no HOME: --keys FOLDER says where the keys of the CA are");
    return path;
}

static void read_options(struct keys *keys, int argc, char **argv) {
    enum { KEYS = CLI_OPT_OWN, DAYS, ADDRESS, PROGRAM, OUT, FORCE, PASSPHRASE, SECRET, CA, JSON };
    static const struct option options[] = {
        { "keys", required_argument, NULL, KEYS },
        { "days", required_argument, NULL, DAYS },
        { "address", required_argument, NULL, ADDRESS },
        { "program", no_argument, NULL, PROGRAM },
        { "out", required_argument, NULL, OUT },
        { "force", no_argument, NULL, FORCE },
        { "passphrase", no_argument, NULL, PASSPHRASE },
        { "passphrase-file", required_argument, NULL, SECRET },
        { "ca", no_argument, NULL, CA },
        { "json", no_argument, NULL, JSON },
        CLI_COMMON,
    };
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        if (option == KEYS)
            keys->folder = optarg;
        else if (option == DAYS)
            keys->days = (uint32_t) cli_number("--days", optarg, 1, 36500);
        else if (option == OUT)
            keys->out = optarg;
        else if (option == SECRET)
            keys->passphrase_file = optarg;
        else if (option == ADDRESS && keys->address_count == AUTHORITY_ADDRESSES)
            cli_usage("more than %d addresses", AUTHORITY_ADDRESSES);
        else if (option == ADDRESS)
            keys->addresses[keys->address_count++] = optarg;
        keys->program |= option == PROGRAM;
        keys->force |= option == FORCE;
        keys->passphrase |= option == PASSPHRASE;
        keys->ca |= option == CA;
        keys->json |= option == JSON;
    }
}

int verb_keys(int argc, char **argv) {
    static const struct {
        const char *word;
        enum cli_exit (*run)(struct keys *keys, char **names);
    } words[] = {
        { "init", keys_init },   { "host", keys_host },     { "show", keys_show },
        { "renew", keys_renew }, { "revoke", keys_revoke },
    };
    struct keys keys = { 0 };

    read_options(&keys, argc, argv);
    cli_operands(argc, 1, 1000);
    if (!keys.folder)
        keys.folder = default_folder();
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        enum cli_exit code;

        if (strcmp(argv[optind], words[i].word) != 0)
            continue;
        code = words[i].run(&keys, argv + optind + 1);
        (void) authority_free(keys.authority);
        explicit_bzero(keys.secret, sizeof(keys.secret));
        return (int) code;
    }
    cli_usage("'%s' is none of init, host, show, renew and revoke", argv[optind]);
}
