#!/usr/bin/env perl
# All servers, and the cache before them, as HTTP on a port of this machine that nobody
# else reaches; the port's number stands in run/port. Needs perl-base and nothing else.
#
#   GET  /HOST/health          200 and the release that runs there; 503 if none does
#   GET  /HOST/                the same for visitors: 503 also while it is drained
#   GET  /which/WORD/RELEASE   the servers that are so far with a release
#   POST /purge                one more line in cdn/purged
#   GET  /                     where this world lies
#
# It ends when run/port is gone, or after ten minutes in which nobody asked.
use strict;
use warnings;
use Cwd qw(getcwd);
use Fcntl qw(:flock);
use IO::Select;
use IO::Socket::INET;
use POSIX ();

# One at a time: whoever comes second leaves it to the first.
open(my $lock, '>', 'run/lock') or die "run/lock: $!\n";
flock($lock, LOCK_EX | LOCK_NB) or exit 0;

my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128)
  or die "no port: $!\n";
open(my $port, '>', 'run/port.new') or die "run/port.new: $!\n";
print $port $socket->sockport, "\n";
close($port) or die "run/port.new: $!\n";
rename('run/port.new', 'run/port') or die "run/port: $!\n";

# From here on it works in the background, with nothing of whoever started it.
exit 0 if fork // die "no process: $!\n";
POSIX::setsid();
open(STDIN, '<', '/dev/null');
open(STDOUT, '>', '/dev/null');
open(STDERR, '>', '/dev/null');

# How far a server is with a release. It is drained also if it has the release already.
my %is = (
    copied   => sub { -e "servers/$_[0]/tmp/app-$_[1].tgz" },
    unpacked => sub { -e "servers/$_[0]/$_[1]/app" },
    drained  => sub { -e "servers/$_[0]/drained" || running($_[0]) eq $_[1] },
    serving  => sub { !-e "servers/$_[0]/drained" && running($_[0]) eq $_[1] },
);

$SIG{PIPE} = 'IGNORE';
my ($ready, $idle) = (IO::Select->new($socket), 0);
while (-e 'run/port' && $idle < 600) {
    if (!$ready->can_read(1)) { $idle++; next }
    $idle = 0;
    my $client = $socket->accept or next;
    my $request = '';
    while ($request !~ /\r?\n\r?\n/ && IO::Select->new($client)->can_read(1)) {
        sysread($client, $request, 4096, length $request) or last;
    }
    my ($status, $body) = $request =~ m{^(GET|POST) (/\S*) HTTP/1} ? answer($1, $2) : (400, '');
    my $text = { 200 => 'OK', 404 => 'Not Found', 503 => 'Service Unavailable' }->{$status} // 'Bad Request';
    print $client "HTTP/1.1 $status $text\r\nContent-Length: ", length "$body\n",
      "\r\nConnection: close\r\n\r\n$body\n";
    close($client);
}
unlink 'run/port';

sub running {
    open(my $file, '<', "servers/$_[0]/running") or return '';
    my $release = <$file> // '';
    chomp $release;
    return $release;
}

sub answer {
    my ($method, $path) = @_;
    return (200, getcwd()) if $path eq '/';
    if ($method eq 'POST') {
        mkdir 'cdn';
        open(my $file, '>>', 'cdn/purged') or return (503, "$!");
        print $file "all\n";
        return (200, 'purged');
    }
    if ($path =~ m{^/which/(\w+)/([\w.]+)$} && $is{$1}) {
        my ($is, $release) = ($is{$1}, $2);
        my @hosts = map { substr $_, 8 } glob 'servers/*';
        return (200, join "\n", grep { $is->($_, $release) } @hosts);
    }
    my ($host, $what) = $path =~ m{^/(\w+)/(health)?$} or return (404, '');
    return (503, 'drained') if !$what && -e "servers/$host/drained";
    my $release = running($host);
    return $release eq '' ? (503, 'down') : (200, $release);
}
