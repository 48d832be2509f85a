#!/usr/bin/env perl
# The paid API, as HTTP on a port of this machine that nobody else reaches; the port's
# number stands in run/port. Needs perl-base and nothing else.
#
#   POST /v1/verify   a form with street, postcode and city: whether a letter gets there
#   GET  /            where this API lies
#
# Each verification is charged: a line in invoice.tsv, the key it came with (or -) and the
# address. A request with an Idempotency-Key that it knows is answered, not charged.
#
# One address in five it charges and then says nothing, the first time.
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

# What it charged before it was started again, by key and by address.
my (%known, %charged);
open(my $invoice, '+>>', 'invoice.tsv') or die "invoice.tsv: $!\n";
seek($invoice, 0, 0);
while (my $line = <$invoice>) {
    chomp $line;
    my ($key, $address) = split /\t/, $line, 2;
    $known{$key} = $charged{$address} = 1;
}
delete $known{'-'};
$invoice->autoflush(1);

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

$SIG{PIPE} = 'IGNORE';
my ($ready, %asked, $idle) = (IO::Select->new($socket));
for ($idle = 0; -e 'run/port' && $idle < 600; $idle++) {
    for my $from ($ready->can_read(1)) {
        $idle = 0;
        if ($from == $socket) {
            my $client = $socket->accept or next;
            $ready->add($client);
            $asked{$client} = '';
        } elsif (!sysread($from, $asked{$from}, 65536, length $asked{$from})) {
            hang_up($from);
        } elsif (is_whole($asked{$from})) {
            my ($status, $body) = answer($asked{$from});
            # Whoever waits for an answer that never comes is kept until he gives up.
            next if !$status;
            print $from "HTTP/1.1 $status\r\nContent-Type: application/json\r\nContent-Length: ",
              length "$body\n", "\r\nConnection: close\r\n\r\n$body\n";
            hang_up($from);
        }
    }
}
unlink 'run/port';

sub hang_up {
    $ready->remove($_[0]);
    delete $asked{$_[0]};
    close($_[0]);
}

# Whether a request is there, head and body.
sub is_whole {
    my ($head, $body) = split /\r\n\r\n/, $_[0], 2;
    return 0 if !defined $body;
    my ($length) = $head =~ /^content-length: *(\d+)/mi;
    return length $body >= ($length // 0);
}

sub answer {
    my ($head, $body) = split /\r\n\r\n/, $_[0], 2;
    return ('200 OK', getcwd()) if $head =~ m{^GET / };
    return ('404 Not Found', '{}') if $head !~ m{^POST /v1/verify };
    my %form = map { my ($name, $value) = split /=/, $_, 2; $name => decoded($value // '') }
      split /&/, $body;
    my $address = join ', ', map { $form{$_} // '' } qw(street postcode city);
    $address =~ s/[\t\n"\\]/ /g;
    my ($key) = $head =~ /^idempotency-key: *([!-~]+)/mi;
    if (!defined $key || !$known{$key}) {
        print $invoice $key // '-', "\t$address\n";
        $known{$key} = 1 if defined $key;
        return if !$charged{$address}++ && unpack('%32C*', $address) % 5 == 0;
    }
    # No house number, no letter.
    my $arrives = ($form{street} // '') =~ /\d/ ? 'true' : 'false';
    return ('200 OK', qq({"address":"$address","arrives":$arrives}));
}

sub decoded {
    my ($text) = @_;
    $text =~ tr/+/ /;
    $text =~ s/%([0-9a-fA-F]{2})/chr hex $1/ge;
    return $text;
}
