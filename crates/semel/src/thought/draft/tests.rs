//! Scripts that people have, and what is drafted of them.

use super::*;
use crate::words::pipeline::Pipeline;

/// From cron: fetch, clean, load, report, tell.
const NIGHTLY: &str = r#"#!/usr/bin/env bash
# crontab: 15 2 * * * /opt/nightly/nightly.sh >> /var/log/nightly.log 2>&1
set -euo pipefail
cd /opt/nightly
source .env                                  # PGHOST PGUSER PGPASSWORD SLACK_URL AWS_PROFILE
source venv/bin/activate
DAY=${1:-$(date -u -d yesterday +%F)}
[ -e lock ] && { echo locked; exit 0; }; touch lock; trap 'rm -f lock' EXIT

mkdir -p raw/"$DAY" clean report
aws s3 sync "s3://acme-orders/$DAY/" "raw/$DAY/" --exclude '*' --include '*.csv'
for f in raw/"$DAY"/*.csv; do
  python3 transform.py "$f" > "clean/$DAY-$(basename "$f")"
done
psql -v ON_ERROR_STOP=1 -qf schema.sql
for f in clean/"$DAY"-*.csv; do
  psql -v ON_ERROR_STOP=1 -c "\copy orders from '$f' csv header"
done
psql -Atc "select count(*), sum(amount) from orders where day = '$DAY'" > "report/$DAY.txt"
curl -fsS "$SLACK_URL" -d "{\"text\":\"orders $DAY: $(cat "report/$DAY.txt")\"}"
"#;

/// A release on many servers.
const DEPLOY: &str = r#"#!/usr/bin/env bash
set -euo pipefail
REL=$1
aws s3 cp "s3://acme-builds/app-$REL.tgz" build/                                     # 1
(cd build && sha256sum -c "app-$REL.tgz.sha256")                                     # 2
./say.sh "deploy of $REL begins"                                                     # 3
ssh db1 "cd /srv/app && ./migrate up"                                                # 4
for h in $(cat hosts.txt); do
  scp -q "build/app-$REL.tgz" "$h:/tmp/"                                             # 5
  ssh "$h" "mkdir -p /srv/app/$REL && tar xzf /tmp/app-$REL.tgz -C /srv/app/$REL"    # 6
  ssh "$h" "lb drain"                                                                # 7
  ssh "$h" "ln -sfn /srv/app/$REL /srv/app/current && sudo systemctl restart app"    # 8
  for i in $(seq 30); do curl -fs "http://$h:8080/health" && break; sleep 2; done    # 9
  ssh "$h" "lb undrain"                                                              # 10
done
curl -fsS -X POST -H "Authorization: Bearer $CDN" https://cdn.example.com/purge      # 11
./say.sh "$REL is live"                                                              # 12
"#;

fn drafted(script: &str) -> Draft {
    let made = draft(script, "job.sh").expect("a script");
    if let Err(faults) = Pipeline::read(&made.text) {
        panic!("{faults:?}\n{}\n--- of\n{script}", made.text);
    }
    made
}

#[test]
fn the_nightly_job() {
    insta::assert_snapshot!(draft(NIGHTLY, "nightly.sh").expect("a script").text);
}

#[test]
fn the_deploy() {
    insta::assert_snapshot!(draft(DEPLOY, "deploy.sh").expect("a script").text);
}

/// Scripts that were not written for this.
#[test]
fn the_scripts_of_this_repository_are_drafted() {
    for script in [
        include_str!("../../../../../check"),
        include_str!("../../../../../benches/compare.sh"),
        include_str!("../../../../../examples/every-key/migrations/1.sh"),
    ] {
        let made = drafted(script);
        assert!(made.steps + made.left.len() > 0, "{}", made.text);
    }
}

/// Whatever commands there are in the shell's own ways of writing.
#[test]
fn each_way_of_writing_a_command_is_drafted() {
    for text in [
        "echo \"$(wc -l < a)\"",
        "diff <(sort a) b > c",
        "f=(a b)\necho \"${f[@]}\" > x",
        "cat <<-'E' > x\n\ta\n\tE\n",
        "a && { b c; } > d",
        "[[ a > b && c < d ]] && e",
        "for ((i = 0; i > 3; i++)); do e > f; done",
        "select x in a; do b; done",
        "A=b nice -n 5 ./a && env C=d ./b > e",
        "a |& b > c",
        "a &>> x < y",
        "a 2>&1 >>'y z' 2> $e",
        "case x in a|b) c ;; esac; d > e",
        "if ! ./b; then ./c; elif d; then e; else f; fi > g",
        "until a; do b; done",
        "time sort a > b",
        "coproc a",
        "a > >(tee b)",
        "function f { a; }\nf > b",
        "f() ( a )\nf > b",
        "x+=1; y[0]=2; ./a $x ${y[0]} > b",
        "printf -v x '%s' a\n./b $x > c",
        "mapfile -t x < y\n./a \"${x[@]}\" > b",
        "let x++; : ${x:=1}; unset x",
        "a\\\nb > c",
        "! a > b",
        "a; ; b",
        "}",
        "done",
        "esac",
    ] {
        drafted(text);
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_the_script_is_the_draft_has_no_faults(
        parts in proptest::collection::vec(part(), 1..14),
    ) {
        if let Ok(made) = draft(&parts.concat(), "job.sh") {
            let read = Pipeline::read(&made.text);
            proptest::prop_assert!(read.is_ok(), "{:?}\n{}\n--- of\n{}", read.err(), made.text, parts.concat());
            let pipeline = read.expect("it was looked at");
            let _ = crate::thought::lint::lint(&pipeline, &made.text);
        }
    }

    #[test]
    fn any_text_is_drafted_or_refused(text in "\\PC{0,80}") {
        if let Ok(made) = draft(&text, &text) {
            proptest::prop_assert!(Pipeline::read(&made.text).is_ok(), "{}", made.text);
        }
    }

    #[test]
    fn any_bytes_of_a_shell_are_drafted_or_refused(text in "[a-z '\"`$(){}\\[\\]<>|&;#\\\\\n\t=!*?~/.%:@0-9-]{0,80}") {
        if let Ok(made) = draft(&text, "x") {
            proptest::prop_assert!(Pipeline::read(&made.text).is_ok(), "{}", made.text);
        }
    }
}

/// Parts of scripts.
fn part() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let known = proptest::sample::select(vec![
        "for f in raw/*.csv; do\n",
        "  sort \"$f\" > \"out/$(basename \"$f\")\"\n",
        "done\n",
        "done > all.csv\n",
        "for h in $(cat hosts); do ",
        "for i in 1 2 3; do ",
        "ssh \"$h\" 'up'; ",
        "done; ",
        "while read -r l; do echo $l >> x; done < lines\n",
        "if [ -e a ]; then\n",
        "else\n",
        "fi\n",
        "DAY=${1:-$(date +%F)}\n",
        "X=a\n",
        "X=$Y\n",
        "X=\"{{ item }}\"\n",
        "export TOKEN=abc\n",
        "N=$(wc -l < a)\n",
        "sort a > b\n",
        "sort a >> b\n",
        "cat \"$X\" > $X.txt\n",
        "curl -X POST https://x/{{id}}\n",
        "docker ps --format '{{.Names}}' > names\n",
        "cat <<E > c\n{{ x }} $X\nE\n",
        "f() {\n",
        "}\n",
        "f a\n",
        "echo $1 $2\n",
        "cd sub\n",
        "cd ..\n",
        "mkdir -p out/$X\n",
        "touch lock\n",
        "trap 'rm lock' EXIT\n",
        "exit 0\n",
        "mv b c\n",
        "awk '{ print $1 }' a > '''b'\n",
        "x & ",
        "# a {{ comment }}\n",
        "case $X in a) b > d;; esac\n",
        "set +e\n",
        "source .env\n",
        ". ./{{x}}\n",
        "echo {\"$f\"} > \"$f\"\n",
        "tee {{ > \"{{x\"\n",
        "\u{7}\n",
        "a 'b\n",
        "`c $f` > d\n",
        "python3 x.py \"$f\" {{ out }} > o/\"$DAY\"/$f\n",
        "[ -s \"out/$f\" ] && continue\n",
        "a > x.tmp && mv x.tmp x\n",
        "printf '%s' \"${f%.csv}\" > ${f%.csv}.x\n",
        "read a\n",
        "umask 022\n",
        "sh -c 'x' > e-{$X,b}\n",
        "cat {{}} > {{}}\n",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "[a-z{}'\"$ \n]{0,12}"]
}

/// The draft of a script without what stands above its steps.
fn steps(script: &str) -> String {
    let made = drafted(&format!("set -eu\n{script}"));
    let (_, steps) = made.text.split_once("#     set -eu\n").expect("the first line is told");
    steps.trim_start().to_owned()
}

/// Scripts, each with the steps of its draft.
fn all(scripts: &[&str]) -> String {
    scripts.iter().map(|script| format!("---- {script}\n\n{}\n", steps(script))).collect()
}

/// Why lines of a script are left or left out.
fn whys(script: &str) -> String {
    let made = drafted(script);
    let told = made.text.lines().filter(|line| line.starts_with("# ") && !line.starts_with("#  "));
    let told = told.skip_while(|line| !line.contains(", left")).collect::<Vec<_>>();
    told.join("\n")
}

#[test]
fn a_line_that_writes_a_file_has_an_output() {
    insta::assert_snapshot!(all(&[
        "sort a.csv > b.csv",
        "curl -fsSo rates.csv https://example.com/rates.csv",
        "{ echo head; sort < a.csv; } > b.csv && wc -l b.csv",
        "python3 split.py > a.txt 2> b.txt | tee c.txt",
        "make-it > x.tmp && mv x.tmp x\nother > y.tmp\nmv y.tmp y",
        "make-it > build.log 2>&1 > /dev/null",
    ]));
}

#[test]
fn what_a_line_reads_of_lines_above_it_is_an_input() {
    insta::assert_snapshot!(all(&[
        "sort a.csv > b.csv\npsql -c \"\\copy t from 'b.csv'\"\nN=$(wc -l < b.csv)\nmail -s \"$N\" me < b.csv",
        "for f in raw/*.csv; do sort $f > out/${f##*/}; done\ncat out/*.csv > all.csv\ntar czf x.tgz out",
    ]));
}

#[test]
fn a_loop_is_a_step_with_items() {
    insta::assert_snapshot!(all(&[
        "for f in *.csv; do\n  # a comment\n  o=out/${f%.csv}.txt\n  mkdir -p out\n  [ -s \"$o\" ] && continue   # there\n  tr a b < \"$f\" > \"$o\"\ndone",
        "for h in $(cat hosts.txt); do ssh \"$h\" \"echo $h is up\"; done",
        "while read -r url; do ./get.sh \"$url\"; done < urls.txt",
        "for x in a 'b c'; do ./do.sh \"$x\" > \"out/$x.txt\"; done",
        "for i in {1..3}; do ./do.sh $i > out/$i; done",
    ]));
}

#[test]
fn arguments_and_days_are_parameters() {
    let made = drafted(
        "A=$1\nB=${2:-x y}\nC=\"${3:-$(hostname)}\"\nTODAY=$(date +%F)\n./do.sh \"$A\" $B $C > \"out/$TODAY.txt\"\n./more.sh $4\n",
    );
    insta::assert_snapshot!(made.text);
    assert_eq!(made.required, ["a", "arg4"]);
}

#[test]
fn each_step_gets_the_variables_and_functions_that_it_uses() {
    insta::assert_snapshot!(steps(
        "DIR=data\nexport PGHOST=db1\nN=$(nproc)\numask 022\nload() {\n  psql -f \"$1\" -v n=\"$N\"\n}\nload $DIR/a.sql\nsort $DIR/b > $DIR/c\nexport API_TOKEN=secret-value-1\n./use.sh"
    ));
}

#[test]
fn what_may_not_happen_twice_is_asked_for() {
    insta::assert_snapshot!(steps(
        "curl -X POST https://example.com/hook\n./send_report.sh\npython3 pay.py\necho x >> list.txt\n./load.sh"
    ));
    assert_eq!(drafted("./notify.sh\nsort a > b").once, ["notify"]);
}

#[test]
fn what_only_scripts_need_is_left_out() {
    insta::assert_snapshot!(whys(
        r#"set -e
cd "$(dirname "$0")"
exec 9> x.lock
flock -n 9 || exit 1
[ -f run.pid ] && exit 0
echo $$ > run.pid
trap 'rm -f run.pid' EXIT
if [ $# -ne 1 ]; then echo usage; exit 2; fi
exec > >(tee x.log)
echo start
mkdir -p out
sort a > out/b
sleep 3
exit 0
"#
    ));
}

#[test]
fn what_cannot_be_judged_is_left_with_its_reason() {
    insta::assert_snapshot!(whys(
        r#"./a.sh &
wait
trap ./alert.sh ERR
read -p 'go on? ' x
for f in "$@"; do ./b.sh "$f"; done
[ -e x ] || exit 0
ID=$(./new-job.sh)
./c.sh $ID
sort a > b
gzip b
echo more >> b
sort c > "$(hostname).txt"
for f in x/*; do sort $f > all; done
n=0
for f in x/*; do n=$((n+1)); sort $f > y/$n; done
for f in z/*; do [ -s $f ] || continue; sort $f > y/${f##*/}; done
for f in *.csv; do sort "$f" > "sorted-$f"; done
cat raw/*.csv > raw/all.csv
[ -e "$HOME" ] && sort a > home
eval "$x"
if [ $? -ne 0 ]; then echo no; fi
[ -e flag ] || { ./d.sh; touch flag; }
echo "it's" > '''x'''
set +e
cd $UNKNOWN
./e.sh
echo 'a
"#
    ));
}

#[test]
fn braces_are_placeholders_nowhere() {
    insta::assert_snapshot!(steps(
        "docker ps --format '{{.Names}}' > names.txt\ncurl https://x/{{id}}?a={{{b}}}\nX='{{ item }}'\nprintf '%s' \"$X\" > \"{{x}}.txt\""
    ));
}

#[test]
fn what_is_no_script_is_refused() {
    let no = |script: &str| draft(script, "x").expect_err("it is none").to_string();
    assert_eq!(no(" \n"), "is empty");
    assert_eq!(no("#!/bin/sh\n# nothing\n"), "has no command");
    assert_eq!(
        no("#!/usr/bin/env python3\nprint()"),
        "is no script for bash or sh: its first line names `/usr/bin/env python3`"
    );
    assert_eq!(no("a\0b"), "is no text: it has a NUL byte");
    for first in
        ["#!/bin/sh -e", "#!/usr/bin/env -S bash -eu", "#!/usr/local/bin/bash", "#! /bin/dash"]
    {
        assert_eq!(drafted(&format!("{first}\nsort a > b")).steps, 1, "{first}");
    }
}

/// Where nothing but talk is there, that is what the script does.
#[test]
fn there_is_always_a_step() {
    assert_eq!(drafted("echo hello").steps, 1);
    let made = drafted("./x &");
    assert_eq!((made.steps, made.left.len()), (0, 1));
    assert!(made.text.contains("[step.unfinished]"));
}

/// What a line would make of variables later is not what it made then.
#[test]
fn a_value_is_what_it_was_when_the_line_was_reached() {
    insta::assert_snapshot!(all(&[
        "A=1\nB=$(echo $A)\n./x.sh $B > x\nA=2\n./y.sh $B > y\n./z.sh $A > z",
        "MODE=dry\nif [ -e live ]; then MODE=live; fi\n./x.sh $MODE > x",
        "source conf.env\nOUT=\"a dir\"\nexport PGHOST=db1\nsort a > \"$OUT/b\"\n./x.sh \"$OUT\"",
        "export N=$(nproc)\n./x.sh > x\nset_n() { N=7; }\nset_n\n./y.sh $N > y",
        "one() { sort \"$f\"; }\nfor f in *.csv; do one > out/$f; done",
    ]));
}

#[test]
fn how_a_line_ends_is_how_its_step_ends() {
    insta::assert_snapshot!(all(&[
        "[ -e a ] && ./a.sh > b\n./c.sh || echo 'no c'\ngit tag x && git push",
        "for f in raw/*; do sort $f > out/${f##*/}; [ -s $f ] && touch big; done",
        "for f in inbox/*; do ./load.sh $f; mv $f done/; done\nfor d in x/*/; do ./y.sh $d; done",
    ]));
}
