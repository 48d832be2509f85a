//! For each kind of warning: what must be warned of, with what is underlined,
//! and near misses that must not.

use std::collections::BTreeSet;

use super::{KINDS, Level, Warning, lint};
use crate::words::pipeline::Pipeline;

/// All that is found in a file, with the file.
fn found(lines: &str) -> (String, Vec<Warning>) {
    let text = format!("name = 'test'\n{lines}\n");
    let pipeline = Pipeline::read(&text).unwrap_or_else(|faults| panic!("{text}\n{faults:?}"));
    let found = lint(&pipeline, &text);
    (text, found)
}

/// The names of all that is found, and what is underlined.
fn names(lines: &str) -> Vec<(&'static str, String)> {
    let (text, found) = found(lines);
    found.iter().map(|one| (one.kind.name, text[one.fault.span.clone()].to_owned())).collect()
}

/// What must be warned of: the kind, the file, what is underlined.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "check-names-no-item",
        "[db]\nmain = 'sqlite:x.db'\n[step.a]\neach = '*.csv'\ncheck = { sql = 'select 1 from t' }\nload = { into = 't', tag = 'source' }",
        "{ sql = 'select 1 from t' }",
    ),
    (
        "appends-rows",
        "[db]\nmain = 'sqlite:x.db'\n[step.a]\neach = '*.csv'\nload = { into = 't' }",
        "{ into = 't' }",
    ),
    (
        "stops-early",
        "[step.a]\neach = { command = 'cat hosts | head -n 3' }\nout = 'x/{{ item }}'\nrun = 'echo {{ item }} > {{ out }}'",
        "head",
    ),
    ("stops-early", "[finally]\nrun = 'cat big.txt | head -1'\n[step.a]\nrun = 'echo'", "head"),
    (
        "never-again",
        "[step.a]\nout = 'x'\nrun = 'curl -fsSo {{ out }} https://10.0.0.1/rates.csv'",
        "curl",
    ),
    (
        "stale-read",
        "[step.b]\neach = '*.csv'\nout = 'data/{{ item.stem }}.clean.csv'\nrun = 'sort {{ item }} > {{ out }}'\n[step.a]\nafter = 'b'\nin = 'i'\nout = 'x'\nrun = 'python3 join.py data/1.clean.csv > {{ out }}'",
        "data/1.clean.csv",
    ),
    (
        "unseen-program",
        "[step.a]\nout = 'x'\nrun = 'for f in sql/*.sql; do psql -f \"$f\"; done > {{ out }}'",
        "\"$f\"",
    ),
    (
        "kept-secret",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'psql postgres://me:hunter2@db/x -f i > {{ out }}'",
        "postgres://me:hunter2@db/x",
    ),
    (
        "kept-secret",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'PGPASSWORD=hunter2 psql -f i > {{ out }}'",
        "PGPASSWORD=hunter2",
    ),
    (
        "shows-nothing",
        "[step.a]\nin = 'x'\nrun = 'curl -d hello https://example.com; echo told >> told.txt'",
        "curl",
    ),
    (
        "never-again",
        "[step.a]\nout = 'x'\nrun = 'curl -fsSo {{ out }} https://example.com'",
        "curl",
    ),
    ("never-again", "[step.a]\nout = 'x'\nrun = 'psql -Atc \"select 1\" > {{ out }}'", "psql"),
    (
        "never-again",
        "[step.a]\nout = 'x'\nrun = ['wget', '-O', '{{ out }}', 'https://example.com']",
        "['wget', '-O', '{{ out }}', 'https://example.com']",
    ),
    ("never-again", "[step.a]\nrun = 'apt-get update'", "apt-get"),
    ("never-again", "[step.a]\nrun = 'if true; then git -C site pull -q; fi'", "git"),
    ("never-again", "[step.a]\nout = 'x'\nrun = 'sort people.txt > {{ out }}'", "a"),
    ("never-again", "[step.a]\nout = 'x'\nrun = 'cat < people.txt > {{ out }}'", "a"),
    (
        "never-again",
        "[step.a]\nout = 'x'\nrun = 'echo {{ out }} \"$(date +%F)\" > {{ out }}'",
        "date",
    ),
    ("never-again", "[step.a]\nout = 'x'\nrun = 'python3 make.py > {{ out }}'", "a"),
    (
        "never-again",
        "[step.b]\nrun = ':'\n[step.a]\nafter = 'b'\nout = 'x'\nrun = 'python3 report.py flights.db > {{ out }}'",
        "a",
    ),
    ("shows-nothing", "[step.a]\nrun = './deploy.sh prod'", "./deploy.sh"),
    (
        "shows-nothing",
        "[step.a]\neach = '*.csv'\nsame = 'content'\nrun = 'psql -c \"insert into t\" < {{ item }}'",
        "psql",
    ),
    (
        "shows-nothing",
        "[step.a]\nrun = 'echo begin; curl -fsS -X POST https://example.com/hook'",
        "curl",
    ),
    ("shows-nothing", "[step.a]\nrun = 'echo done | mail -s done me@example.com'", "mail"),
    ("shows-nothing", "[step.a]\nrun = ['send', 'it']", "['send', 'it']"),
    ("shows-nothing", "[step.a]\nmax-age = '20h'\nrun = './tell.sh'", "./tell.sh"),
    (
        "appends",
        "[step.a]\neach = '*.csv'\nsame = 'content'\nrun = 'cat {{ item }} >> all.csv'",
        "all.csv",
    ),
    (
        "appends",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}; echo \"$(date)\" >> \"done list\"'",
        "\"done list\"",
    ),
    (
        "unseen-output",
        "[step.a]\neach = 'raw/*.csv'\nsame = 'content'\nrun = 'sort {{ item }} > sorted/{{ item.name }}'",
        "sorted/{{ item.name }}",
    ),
    ("unseen-output", "[step.a]\nin = 'b'\nout = 'x'\nrun = 'sort b > t; uniq t > {{ out }}'", "t"),
    ("unseen-output", "[step.a]\nin = 'b'\nout = 'x'\nrun = 'true {{ out }}; sort b > x'", "x"),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}'\nrun = 'sha256sum {{ item }} > {{ out }}'",
        "sha256sum",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}'\nrun = '{ echo lines; wc -l {{ item }}; } > {{ out }}'",
        "wc",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}.gz'\nrun = 'gzip -c {{ item }} > {{ out }}'",
        "gzip",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}'\nrun = 'grep -H x {{ item }} > {{ out }}'",
        "grep",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}'\nrun = '''awk '{ print FILENAME, $1 }' {{ item }} > {{ out }}'''",
        "awk",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}.tgz'\nrun = 'tar -czf {{ out }} {{ item }}'",
        "tar",
    ),
    (
        "stale-read",
        "[step.b]\nin = 'i'\nout = 'b.txt'\nrun = 'sort i > {{ out }}'\n[step.a]\nafter = 'b'\nout = 'x'\nrun = 'uniq b.txt > {{ out }}'",
        "b.txt",
    ),
    (
        "stale-read",
        "[step.b]\neach = '*.csv'\nout = 'clean/{{ item.name }}'\nrun = 'sort {{ item }} > {{ out }}'\n[step.a]\nafter = 'b'\nout = 'x'\nrun = 'cat clean/*.csv > {{ out }}'",
        "clean/*.csv",
    ),
    (
        "stale-read",
        "[step.b]\nin = 'i'\nout = 'b.txt'\nrun = 'sort i > {{ out }}'\n[step.a]\nin = 'j'\nout = 'x'\nrun = 'join j ./b.txt > {{ out }}'",
        "./b.txt",
    ),
    (
        "unseen-program",
        "[step.a]\nin = { outputs-of = 'b' }\nout = 'x'\nrun = 'python3 \"$TOOLS/clean.py\" {{ in }} > {{ out }}'\n[step.b]\nin = 'i'\nout = 'b.txt'\nrun = 'sort i > {{ out }}'",
        "\"$TOOLS/clean.py\"",
    ),
    (
        "unseen-program",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.name }}'\nrun = '$PYTHON clean.py {{ item }} {{ out }}'",
        "$PYTHON",
    ),
    (
        "unseen-program",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.name }}'\nrun = 'python3 ../tools/clean.py {{ item }} > {{ out }}'",
        "../tools/clean.py",
    ),
    (
        "unseen-program",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.name }}'\nrun = 'cargo run --release -- {{ item }} > {{ out }}'",
        "cargo",
    ),
    ("unseen-program", "[step.a]\nout = 'bin/tool'\nrun = 'make -s DEST={{ out }}'", "make"),
    (
        "differs-each-time",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = '{ date; cat i; } > {{ out }}'\n[step.b]\nneeds = 'a'\nout = 'y'\nrun = 'wc -c < x > {{ out }}'",
        "date",
    ),
    (
        "differs-each-time",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'echo $RANDOM > {{ out }}'\n[step.b]\nin = { outputs-of = 'a' }\nout = 'y'\nrun = 'cp {{ in }} {{ out }}'",
        "$RANDOM",
    ),
    (
        "differs-each-time",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'echo {{ run.id }} > {{ out }}'\n[step.b]\neach = { outputs-of = 'a' }\nout = 'y/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'",
        "{{ run.id }}",
    ),
    (
        "stops-early",
        "[step.a]\neach = '*.gz'\nout = 'o/{{ item.stem }}'\nrun = 'zcat {{ item }} | head -1 > {{ out }}'",
        "head",
    ),
    (
        "stops-early",
        "[step.a]\neach = '*.gz'\nout = 'o/{{ item.stem }}'\nrun = 'n=$(zcat {{ item }} | sort | head -n 5); echo \"$n\" > {{ out }}'",
        "head",
    ),
    (
        "stops-early",
        "[step.a]\nin = 'a'\nout = 'x'\nrun = 'if cat {{ in }} | grep -q x; then cp {{ in }} {{ out }}; fi'",
        "grep",
    ),
    (
        "stops-early",
        "params.p.command = 'cat big.txt | head -1'\n[step.a]\nrun = 'echo {{ params.p }}'",
        "head",
    ),
    (
        "check-hides-errors",
        "[step.a]\nrun = './a'\ncheck = 'psql -Atc \"select 1\" | grep -x 1'",
        "grep",
    ),
    (
        "check-hides-errors",
        "[step.a]\nrun = './a'\ncheck = { run = 'grep -c x ledger || true', equals = '1' }",
        "true",
    ),
    ("check-always-holds", "[step.a]\nrun = './a'\ncheck = 'grep -q x ledger || :'", ":"),
    (
        "check-hides-errors",
        "[step.a]\nrun = './a'\ncheck.run = 'test \"$(psql -Atc \"select 1\")\" = 1'",
        "psql",
    ),
    (
        "check-always-holds",
        "[step.a]\nrun = './a'\ncheck = \"\"\"psql -Atc \"select 1 from t where day = 'x'\\\"\"\"\"",
        "\"\"\"psql -Atc \"select 1 from t where day = 'x'\\\"\"\"\"",
    ),
    (
        "check-always-holds",
        "[step.a]\nrun = './a'\ncheck = { run = '''sqlite3 x.db 'select count(*) > 0 from t' ''' }",
        "sqlite3",
    ),
    (
        "check-claims",
        "[step.a]\nrun = 'npm ci'\ncheck = 'test -d node_modules'",
        "test -d node_modules",
    ),
    (
        "check-claims",
        "[step.a]\nrun = 'npm ci'\ncheck = '[ -e \"$HOME/x\" ]'",
        "[ -e \"$HOME/x\" ]",
    ),
    ("once-blind", "[step.a]\nonce = true\nrun = './pay.sh'", "true"),
    ("retry-once", "[step.a]\nonce = true\nretry = 3\nrun = './pay.sh'", "3"),
    (
        "kept-secret",
        "[params]\napi-token = 'x'\n[step.a]\nrun = 'echo {{ params.api-token }}'",
        "api-token",
    ),
    ("kept-secret", "[step.a]\nenv = { DB_PASSWORD = 'x' }\nrun = 'echo'", "DB_PASSWORD"),
    (
        "kept-secret",
        "[step.a]\nenv-counts = ['LANG', 'AWS_SECRET_ACCESS_KEY']\nrun = 'echo'",
        "'AWS_SECRET_ACCESS_KEY'",
    ),
    (
        "no-backup",
        "[step.a]\nin = 'i'\nout = 'x.db'\nin-place = 'no-backup'\ncleanup = './undo.sh'\nrun = './load.sh i'",
        "'no-backup'",
    ),
    ("durability-process", "durability = 'process'\n[step.a]\nrun = 'echo'", "'process'"),
    (
        "digest-stat",
        "[step.a]\nin = 'big'\ndigest = 'stat'\nout = 'x'\nrun = 'wc -c < {{ in }} > {{ out }}'",
        "'stat'",
    ),
];

/// What looks like it, and is right.
const RIGHT: &[(&str, &str)] = &[
    (
        "check-names-no-item",
        "[db]\nmain = 'sqlite:x.db'\n[step.a]\neach = '*.csv'\ncheck = { sql = 'select 1 from t where day = {{ item.stem }}' }\nload = { into = 't', tag = 'source' }\n[step.b]\ncheck = { sql = 'select 1 from t' }\nsql = 'create table t (a)'",
    ),
    (
        "appends-rows",
        "[db]\nmain = 'sqlite:x.db'\n[step.a]\neach = '*.csv'\nload = { into = 't', tag = 'source' }\n[step.b]\nload = { into = 't', file = 'x.csv', mode = 'replace' }\n[step.c]\neach = '*.csv'\nload = { into = 't', replace-where = \"day = {{ item.stem }}\" }",
    ),
    (
        "once-blind",
        "[db]\nmain = 'sqlite:x.db'\n[step.a]\neach = 'm/*.sql'\nordered = true\nsql = { file = '{{ item }}' }",
    ),
    (
        "shows-nothing",
        "[step.a]\nin = 'x'\nrun = 'source env.sh; for h in a b; do ping -c 1 $h || continue; done'",
    ),
    (
        "never-again",
        "[step.a]\nout = 'key'\ndeterministic = false\nrun = 'openssl genrsa > {{ out }}'",
    ),
    ("check-hides-errors", "[step.a]\nrun = './a'\ncheck = '[[ $A =~ ^(b|c)$ ]]'"),
    (
        "unseen-output",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = '[[ $A > b ]] || (( c > d )); sort i > {{ out }}'",
    ),
    (
        "differs-each-time",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'echo \"begin $(date)\"; sort i > {{ out }}; date'\n[step.b]\nneeds = 'a'\nout = 'y'\nrun = 'wc -c < x > {{ out }}'",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}'\nrun = 'echo {{ item }}; sort {{ item }} > {{ out }}'",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}'\nrun = 'grep -e a -e b {{ item }} > {{ out }}; grep -f pats {{ item }} >> {{ out }}'",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.tar'\nout = 'o/{{ item.stem }}/'\nrun = 'tar -xf {{ item }} -C {{ out }} src'",
    ),
    (
        "stale-read",
        "[step.b]\neach = '*.csv'\nout = 'data/{{ item.stem }}.clean.csv'\nrun = 'sort {{ item }} > {{ out }}'\n[step.a]\nin = 'i'\nout = 'x'\nrun = 'join i data/lookup.csv > {{ out }}'",
    ),
    (
        "unseen-program",
        "[step.a]\nin = { outputs-of = 'b' }\nout = 'x'\nrun = 'source \"$HOME/.cargo/env\"; sort {{ in }} > {{ out }}'\n[step.b]\nin = 'i'\nout = 'b'\nrun = 'cp i {{ out }}'",
    ),
    (
        "unseen-program",
        "[step.a]\neach = '*.sql'\nsame = 'content'\nenv = { FILE = '{{ item }}' }\nrun = 'psql -f \"$FILE\"'\ncheck = { run = 'x', equals = 't' }",
    ),
    (
        "kept-secret",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'PGPASSWORD=$PW psql postgres://me@db:5432/x -f i > {{ out }}; PGPASSWORD= true'",
    ),
    (
        "never-again",
        "[step.a]\nmax-age = '20h'\nout = 'x'\nrun = 'curl -fsSo {{ out }} https://example.com'",
    ),
    (
        "never-again",
        "per = 'day'\nparams.day = '1'\n[step.a]\nout = 'x-{{ params.day }}'\nrun = 'curl -fsSo {{ out }} https://example.com'",
    ),
    (
        "never-again",
        "params.url = 'x'\n[step.a]\nout = 'x'\nrun = 'curl -fsSo {{ out }} {{ params.url }}'",
    ),
    (
        "never-again",
        "[step.a]\neach = { lines = 'urls.txt' }\nout = 'x/{{ item }}'\nrun = 'curl -fsSo {{ out }} {{ item }}'",
    ),
    ("never-again", "[step.a]\nout = 'x'\nrun = 'echo hello > {{ out }}'"),
    ("never-again", "[step.a]\nout = 'x'\nrun = '''\ncat > {{ out }} <<E\nhello\nE\n'''"),
    ("never-again", "[step.a]\nout = 'x'\nrun = 'seq 10 | sort -r > {{ out }}'"),
    (
        "never-again",
        "[step.a]\nversion = 2\nout = 'x'\nrun = 'curl -fsSo {{ out }} https://example.com/v2'",
    ),
    ("never-again", "[step.a]\nrun = 'mkdir -p a/b'"),
    ("never-again", "[step.a]\nonce = true\nrun = 'curl -fsS -X POST https://example.com'"),
    ("never-again", "[step.a]\nrun = 'pip install -r requirements.txt'\ncheck = 'pip check'"),
    ("shows-nothing", "[step.a]\nmax-age = '0'\nrun = './health.sh'"),
    ("shows-nothing", "[step.a]\nin = 'site/**'\nrun = 'aws s3 sync site s3://bucket/site'"),
    ("shows-nothing", "[step.a]\neach = '*.csv'\nsame = 'content'\nrun = 'test -s {{ item }}'"),
    (
        "shows-nothing",
        "[step.a]\nrun = './migrate.sh'\ncheck = { run = './is-migrated.sh', equals = 't' }",
    ),
    ("shows-nothing", "[step.a]\nin = 'x'\nrun = 'curl -fsSG -d q=1 https://example.com'"),
    ("shows-nothing", "[step.a]\ncheck = 'pg_isready'"),
    ("appends", "[step.a]\nonce = true\nrun = 'echo told >> outbox'"),
    ("appends", "[step.a]\nin = 'i'\nout = 'x'\nrun = 'echo head > {{ out }}; cat i >> {{ out }}'"),
    ("appends", "[step.a]\nin = 'i'\nout = 'x'\nrun = 'echo head > t; cat i >> t; mv t {{ out }}'"),
    (
        "appends",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'sort i > {{ out }} 2>> errors.txt; date >> run.log'",
    ),
    (
        "appends",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'T=$(mktemp); cat i >> \"$T\"; mv \"$T\" {{ out }}'",
    ),
    ("appends", "[step.a]\nin = 'i'\nout = 'x'\nin-place = true\nrun = 'cat i >> x'"),
    (
        "unseen-output",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'sort i > {{ out }} 2> /dev/null; echo done >&2; grep x i > /dev/null'",
    ),
    (
        "unseen-output",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'sort i > t; uniq t > {{ out }}; rm t'",
    ),
    (
        "unseen-output",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = \"trap 'rm -f t' EXIT; sort i > t; uniq t > {{ out }}\"",
    ),
    (
        "unseen-output",
        "[step.a]\nin = 'i'\nout = 'o/'\nrun = 'mkdir -p {{ out }}; sort i > {{ out }}/a'",
    ),
    ("unseen-output", "[step.a]\nin = 'i'\nout = 'x'\nrun = '''awk '$1 > limit' i > {{ out }}'''"),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}'\nrun = 'wc -l < {{ item }} > {{ out }}'",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}'\nrun = \"wc -l {{ item }} | cut -d' ' -f1 > {{ out }}\"",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nsame = 'name+content'\nout = 'o/{{ item.stem }}'\nrun = 'wc -l {{ item }} > {{ out }}'",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}'\nrun = 'echo {{ item.name }} > {{ out }}; wc -l {{ item }} >> {{ out }}'",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}.gz'\nrun = 'gzip -nc {{ item }} > {{ out }}'",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.stem }}'\nrun = 'sha256sum {{ item }} >&2; grep x {{ item }} > {{ out }}'",
    ),
    (
        "prints-names",
        "[step.a]\neach = { lines = 'hosts' }\nout = 'o/{{ item }}'\nrun = 'echo {{ item }} > {{ out }}'",
    ),
    (
        "prints-names",
        "[step.a]\neach = '*.tgz'\nout = 'o/{{ item.stem }}/'\nrun = 'mkdir -p {{ out }}; tar -xzf {{ item }} -C {{ out }}'",
    ),
    (
        "stale-read",
        "[step.b]\nin = 'i'\nout = 'b.txt'\nrun = 'sort i > {{ out }}'\n[step.a]\nneeds = 'b'\nout = 'x'\nrun = 'uniq b.txt > {{ out }}'",
    ),
    (
        "stale-read",
        "[step.b]\nin = 'i'\nout = 'b.txt'\nrun = 'sort i > {{ out }}'\n[step.a]\nafter = 'b'\nin = 'b.txt'\nout = 'x'\nrun = 'uniq b.txt > {{ out }}'",
    ),
    (
        "stale-read",
        "[step.b]\nin = 'i'\nout = 'b.txt'\nrun = 'sort i > {{ out }}'\n[step.a]\nafter = 'b'\nonce = true\nrun = './send.sh b.txt'",
    ),
    (
        "stale-read",
        "[step.b]\nin = 'i'\nout = 'b.txt'\nrun = 'sort i > {{ out }}'\n[step.a]\nafter = 'b'\nin = 'j'\nout = 'x'\nrun = 'sort j > {{ out }}; echo see b.txt'",
    ),
    (
        "stale-read",
        "[step.c]\nin = { outputs-of = 'b' }\nout = 'c'\nrun = 'cp {{ in }} {{ out }}'\n[step.b]\nin = 'i'\nout = 'b.txt'\nrun = 'sort i > {{ out }}'\n[step.a]\nneeds = 'c'\nout = 'x'\nrun = 'join b.txt c > {{ out }}'",
    ),
    (
        "stale-read",
        "[step.b]\neach = '*.csv'\nout = '{{ item.stem }}.txt'\nrun = 'sort {{ item }} > {{ out }}'\n[step.a]\nin = 'notes.md'\nout = 'x'\nrun = 'cat notes.md > {{ out }}'",
    ),
    (
        "unseen-program",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.name }}'\nrun = 'python3 clean.py {{ item }} > {{ out }}'",
    ),
    (
        "unseen-program",
        "[step.a]\neach = '*.csv'\nout = 'o/{{ item.name }}'\nrun = '\"$HOME/bin/clean\" {{ item }} > {{ out }}'",
    ),
    (
        "unseen-program",
        "[step.a]\neach = '*.py'\nout = 'o/{{ item.name }}'\nrun = 'python3 {{ item }} > {{ out }}'",
    ),
    (
        "unseen-program",
        "[step.a]\nin = ['src/**', 'Cargo.*']\nout = 'x'\nrun = 'cargo run > {{ out }}'",
    ),
    (
        "unseen-program",
        "[step.a]\nin = 'tools/*.py'\nout = 'x'\nrun = 'python3 \"$TOOLS/x.py\" > {{ out }}'",
    ),
    (
        "unseen-program",
        "[step.a]\nrun = 'make install'\ncheck = { run = 'tool --version', equals = '2' }",
    ),
    ("unseen-program", "[step.a]\nmax-age = '0'\nrun = 'make test'"),
    (
        "unseen-program",
        "[step.a]\ndir = 'jobs'\neach = '*.csv'\nout = 'o/{{ item.name }}'\nrun = 'python3 ../clean.py {{ item }} > {{ out }}'",
    ),
    (
        "differs-each-time",
        "[step.a]\nin = 'i'\nout = 'x'\ndeterministic = false\nrun = '{ date; cat i; } > {{ out }}'\n[step.b]\nneeds = 'a'\nout = 'y'\nrun = 'wc -c < x > {{ out }}'",
    ),
    (
        "differs-each-time",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'cat i > {{ out }}; date >&2; echo \"$(date)\" > /dev/null'\n[step.b]\nneeds = 'a'\nout = 'y'\nrun = 'wc -c < x > {{ out }}'",
    ),
    (
        "differs-each-time",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'date -r i > {{ out }}'\n[step.b]\nneeds = 'a'\nout = 'y'\nrun = 'wc -c < x > {{ out }}'",
    ),
    ("differs-each-time", "[step.a]\nin = 'i'\nout = 'x'\nrun = '{ date; cat i; } > {{ out }}'"),
    (
        "differs-each-time",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = '''awk '{ print $RANDOM }' i > {{ out }}'''\n[step.b]\nneeds = 'a'\nout = 'y'\nrun = 'wc -c < x > {{ out }}'",
    ),
    (
        "stops-early",
        "[step.a]\neach = '*.gz'\nout = 'o/{{ item.stem }}'\nrun = '{ zcat {{ item }} | head -1 || [ $? = 141 ]; } > {{ out }}'",
    ),
    (
        "stops-early",
        "shell = 'bash -eu -c'\n[step.a]\neach = '*.gz'\nout = 'o/{{ item.stem }}'\nrun = 'zcat {{ item }} | head -1 > {{ out }}'",
    ),
    (
        "stops-early",
        "[step.a]\neach = '*.gz'\nout = 'o/{{ item.stem }}'\nrun = 'set +o pipefail; zcat {{ item }} | head -1 > {{ out }}'",
    ),
    (
        "stops-early",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'wc -l i | head -1 > {{ out }}; head -1 i >> {{ out }}; cat i | head -n -1 >> {{ out }}'",
    ),
    (
        "stops-early",
        "[step.a]\nin = 'i'\nout = 'x'\nrun = 'cat i | grep x > {{ out }} || grep -q x i'",
    ),
    (
        "check-hides-errors",
        "[step.a]\nrun = './a'\ncheck = { run = 'psql -Atc \"select 1\" | tr -d x', equals = '1' }",
    ),
    (
        "check-hides-errors",
        "[step.a]\nrun = './a'\ncheck = { run = 'grep -c x ledger || [ $? = 1 ]', equals = '1' }",
    ),
    ("check-hides-errors", "[step.a]\nrun = './a'\ncheck = 'grep -q \"a|b\" x || grep -q c x'"),
    ("check-hides-errors", "[step.a]\nrun = './a'\ncheck = 'test \"$(wc -l < x)\" -gt 5'"),
    (
        "check-always-holds",
        "[step.a]\nrun = './a'\ncheck = { run = 'psql -Atc \"select count(*) > 0 from t\"', equals = 't' }",
    ),
    (
        "check-always-holds",
        "[step.a]\nrun = './a'\ncheck = 'psql -Atc \"select 1 from flight limit 1\"'",
    ),
    (
        "check-always-holds",
        "[step.a]\nrun = './a'\ncheck = 'psql -Atc \"select 1/count(*) from flight where x\"'",
    ),
    (
        "check-claims",
        "[step.a]\nin = 'i'\nout = 'x/'\nrun = 'build i {{ out }}'\ncheck = 'test -d x'",
    ),
    (
        "check-claims",
        "[step.a]\nrun = 'npm ci && touch node_modules/.done'\ncheck = 'test -e node_modules/.done'",
    ),
    ("check-claims", "[step.a]\nrun = './a'\ncheck = 'test -d x && ./verify.sh x'"),
    ("check-claims", "[step.a]\nrun = './a'\ncheck = '[ x -nt y ]'"),
    (
        "once-blind",
        "[step.a]\nonce = true\nrun = './pay.sh'\ncheck = { run = './is-paid.sh', equals = 't' }",
    ),
    ("once-blind", "[step.a]\nonce = false\nin = 'i'\nout = 'x'\nrun = 'cp i {{ out }}'"),
    ("retry-once", "[step.a]\nonce = true\nretry = 3\nsafe-exits = 75\nrun = './pay.sh'"),
    (
        "retry-once",
        "[step.a]\nonce = true\nretry = 3\ncheck = { run = './is-paid.sh', equals = 't' }\nrun = './pay.sh'",
    ),
    (
        "kept-secret",
        "[params]\nmax-tokens = '5'\nsort-key = 'a'\ntoken-file = 't'\n[step.a]\nenv = { MAX_TOKENS = '5', KEY = 'x', PASSWORD_FILE = 'p' }\nsecret-env = ['API_TOKEN']\nenv-counts = 'PRIMARY_KEY'\nrun = 'echo'",
    ),
    ("kept-secret", "[params]\npassword = ''\n[step.a]\nrun = 'echo'"),
    ("no-backup", "[step.a]\nin = 'i'\nout = 'x.db'\nin-place = true\nrun = './load.sh i'"),
    ("durability-process", "durability = 'power'\n[step.a]\nrun = 'echo'"),
    (
        "digest-stat",
        "[step.a]\nin = 'big'\ndigest = 'content'\nout = 'x'\nrun = 'wc -c < {{ in }} > {{ out }}'",
    ),
];

#[test]
fn what_is_wrong_is_warned_of_once_where_it_stands() {
    let told = WRONG.iter().map(|(kind, text, at)| (kind, at, text, names(text)));
    let otherwise: Vec<_> =
        told.filter(|(kind, at, _, names)| *names != [(**kind, (**at).to_owned())]).collect();
    assert!(otherwise.is_empty(), "{otherwise:#?}");
}

#[test]
fn what_is_right_is_not() {
    let told = RIGHT.iter().map(|(kind, text)| (kind, text, names(text)));
    let wolves: Vec<_> =
        told.filter(|(kind, _, names)| names.iter().any(|(name, _)| name == *kind)).collect();
    assert!(wolves.is_empty(), "{wolves:#?}");
}

#[test]
fn every_kind_has_a_case_and_a_near_miss() {
    let kinds: BTreeSet<_> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(kinds.len(), KINDS.len());
    assert_eq!(kinds, WRONG.iter().map(|(kind, ..)| *kind).collect());
    assert_eq!(kinds, RIGHT.iter().map(|(kind, _)| *kind).collect());
}

#[test]
fn what_may_be_meant_is_a_note() {
    for (text, level) in [
        ("[step.a]\nout = 'x'\nrun = 'python3 make.py > {{ out }}'", Level::Note),
        ("[step.a]\nout = 'x'\nrun = 'make-it > {{ out }}'", Level::Warning),
        (
            "[step.a]\nout = 'x'\nrun = 'curl -s example.com | python3 make.py > {{ out }}'",
            Level::Warning,
        ),
        ("[step.a]\nonce = true\nrun = './pay.sh'", Level::Note),
        (
            "[step.a]\nout = 'x'\nrun = 'curl -fsSo {{ out }} https://example.com/tool-1.2.tgz'",
            Level::Note,
        ),
        ("durability = 'process'\n[step.a]\nrun = 'echo'", Level::Note),
    ] {
        let (_, found) = found(text);
        assert_eq!(found.iter().map(|one| one.level).collect::<Vec<_>>(), [level], "{text}");
    }
}

/// What people read fits into 80 columns.
#[test]
fn no_line_is_too_long() {
    for (_, text, _) in WRONG {
        let (_, found) = found(text);
        for Warning { kind, level, fault, .. } in &found {
            let head = format!("{}[{}]: {}", level.name(), kind.name, fault.title);
            let help = fault.help.iter().map(|line| format!("   = help: {line}"));
            for line in std::iter::once(head).chain(help) {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}

proptest::proptest! {
    /// Whatever a command says, reading it for warnings ends well.
    #[test]
    fn any_command_is_read(run in "[a-zü '\"`$(){}<>|&;#\\\\\n=-]{1,60}") {
        let quoted = serde_json::json!(format!("x {run}").replace('{', "{ "));
        let text = format!("name = 'test'\n[step.a]\nrun = {quoted}\n");
        let pipeline = Pipeline::read(&text).expect("a command without placeholders");
        for warning in lint(&pipeline, &text) {
            proptest::prop_assert!(text.get(warning.fault.span).is_some());
        }
    }
}
