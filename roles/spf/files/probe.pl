# Copyright (c) 2026 The sokuhai authors. BSD-2-Clause, see LICENSE.
# As probe.py, for an agent written in Perl with Mail::SPF.
use strict;
use warnings;
use Mail::SPF;
use Sys::Syslog qw(:DEFAULT setlogsock);
no warnings qw(redefine once);
sub Probe::expand { 'probe' }
*Mail::SPF::Server::process = sub {
    my ($server, $request) = @_;
    my $name = $request->scope eq 'helo' ? $request->identity : $request->localpart;
    $name =~ s/\..*//;
    $request->state('authority_explanation', bless({}, 'Probe'));
    return $server->result_class($name)->new($server, $request, 'probe');
};
*Sys::Syslog::syslog = sub { shift; printf STDERR @_; print STDERR "\n" };
*Sys::Syslog::openlog = *Sys::Syslog::setlogsock = sub { 1 };
my $agent = shift;
$0 = $agent;
do $agent;
die $@ if $@;
