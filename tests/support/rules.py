"""What docs_test.py and limits_test.py are made of: rules, functions that take the files
(path → text) and yield what is wrong; and samples (path, old, new, complaint): with `old` replaced
by `new`, some rule has to say that. A rule of which no sample makes it complain is one, too."""

import sys


def check_samples(rules, samples, files, concerns):
    used = set()
    for path, old, new, want in samples:
        changed = files[path].replace(old, new)
        if changed == files[path]:
            yield f"sample {path}: '{old}' is not there"
            continue
        found = {rule for rule in rules
                 if concerns(rule, path) and
                 any(want in complaint for complaint in rule({**files, path: changed}))}
        if not found:
            yield f"sample {path}: '{new}': nobody complained"
        used |= found
    for rule in rules:
        if rule not in used:
            yield f"{rule.__name__} has no sample"


def main(name, rules, samples, files, concerns=lambda rule, path: True):
    """First the samples, then the files. concerns: is a rule, one that takes long, to be tried on a
    sample in that file?"""
    complaints = list(check_samples(rules, samples, files, concerns))
    if "--self-test" not in sys.argv:
        complaints += [complaint for rule in rules for complaint in rule(files)]
    for complaint in complaints:
        print(complaint)
    print(f"{name}: {len(complaints)} complaints, {len(samples)} samples")
    return 1 if complaints else 0
