//go:build qemu

package qemutests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/versions"
)

// workload uses the tree all the time, until /tmp/stop is there: it runs programs
// and scripts, reads and maps files, lists directories, and has the kernel forget
// what it knows. Every file of a version has the version's ID in it; what is not
// as it should be is in /tmp/errors.
const workload = `#!/bin/bash
id=$1
exec >/tmp/errors 2>&1
cd /usr/share/sidusboot-test/set
# One that holds a file open and mapped, one whose program stays in use.
perl -e 'open my $f, "<:mmap", "map" or die; my $want = $ARGV[0] x 4096;
	until (-e "/tmp/stop") { seek $f, 0, 0; local $/; my $got = <$f>; $got eq $want or die "the mapped file has changed\n"; select undef, undef, undef, 0.3 }' $id &
mkfifo /tmp/fifo
../program /tmp/fifo >/tmp/held &
exec 7>/tmp/fifo
n=0
until [ -e /tmp/stop ]; do
	for f in [0-9]*; do
		[ "$(<$f)" = "$id" ] || echo "$f is another version's: $(<$f)"
	done
	[ "$(../script)" = "$id" ] || echo "the script is another version's"
	../program 1 | grep -qx "$id" || echo "the program does not run"
	echo $n >&7
	[ $((n % 4)) -gt 0 ] || ls -lR /etc /usr/lib/x86_64-linux-gnu /usr/share/sidusboot-test >/tmp/list
	[ $((n % 3)) -gt 0 ] || echo 3 >/proc/sys/vm/drop_caches
	n=$((n + 1))
	echo $n >/tmp/rounds
done
exec 7>&-
wait
echo done >/tmp/done
`

// A publisher changes the staging of a base, and publishes it, again and again.
type publisher struct {
	t    *testing.T
	base *versions.Base
	n    int
}

func newPublisher(t *testing.T, tree string) *publisher {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "base")
	base := newBase(t, dir, tree)
	cmd := exec.Command("sh", "-ec", `mkdir usr/share/sidusboot-test/set; cat >usr/share/sidusboot-test/workload; chmod 755 usr/share/sidusboot-test/workload`)
	cmd.Dir = filepath.Join(dir, "staging")
	cmd.Stdin = strings.NewReader(workload)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return &publisher{t: t, base: base}
}

// newBase makes a base with a tree in staging, without what nodes do not use in a test,
// which is two thirds of it: every publication reads all of it.
func newBase(t *testing.T, dir, tree string) *versions.Base {
	t.Helper()
	if err := versions.Init(t.Context(), dir, "", nil); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", `
tar -C "$1" --xattrs --xattrs-include='*' --exclude='./boot/initrd*' --exclude=./usr/share/doc --exclude=./usr/share/locale \
	--exclude=./usr/share/man --exclude=./usr/share/i18n --exclude='./usr/lib/modules/*/kernel/drivers' --exclude='./usr/lib/modules/*/kernel/sound' -cf - . |
tar -C "$2" --xattrs --xattrs-include='*' -xpf -`, "sh", tree, filepath.Join(dir, "staging"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	base, err := versions.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(base.Close)
	return base
}

// publish makes the next version, v1, v2 and so on: every file of the workload is
// a new one.
func (p *publisher) publish(ctx context.Context) error {
	p.n++
	id := "v" + strconv.Itoa(p.n)
	cmd := exec.CommandContext(ctx, "sh", "-ec", `rm -rf set script program
mkdir set; for i in $(seq 40); do echo "$1" >set/$i; done
for i in $(seq 4096); do printf %s "$1"; done >set/map
printf '#!/bin/sh\necho %s\n' "$1" >script; cp ../../bin/cat program; echo "$1" >>program; chmod 755 script program`, "sh", id)
	cmd.Dir = filepath.Join(p.base.Path(), "staging/usr/share/sidusboot-test")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("change staging: %w: %s", err, out)
	}
	_, err := p.base.Publish(ctx, versions.PublishOptions{ID: id, Now: time.Now()})
	return err
}

// TestPublishUnderNodes publishes while nodes boot and use the tree without a
// pause: none of them sees an error, or anything of another version than its own.
// What they run is kept by gc.
func TestPublishUnderNodes(t *testing.T) {
	t.Parallel()
	// After every few publications all nodes go through the tree twice.
	nodes, times, few := 2, 4, 2
	if Soaking() {
		nodes, times, few = 4, 50, 5
	}
	s := newSite(t, "bookworm")
	p := newPublisher(t, s.tree)
	if err := p.publish(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.boots(nodes, siteTime)
	s.dhcp(DHCPOptions{})
	ganesha := NFSOptions{Exports: []Export{{Path: p.base.Path()}}, Config: "EXPORT_DEFAULTS { Attr_Expiration_Time = 0; }"}
	if _, err := s.StartNFS(s.ctx, ganesha); err != nil {
		t.Fatal(err)
	}
	params := "nfsroot=" + ServerAddr + ":" + p.base.Path() + " " + probeParams
	var guests []*Guest
	for i := range nodes {
		guests = append(guests, s.boot(params, GuestOptions{Name: fmt.Sprint("worker", i+1), NICs: []NIC{{MAC: MAC(20 + i)}}}))
	}
	// While they boot.
	booting, cancel := context.WithCancel(s.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for booting.Err() == nil {
			if err := p.publish(s.ctx); err != nil && s.ctx.Err() == nil {
				t.Errorf("publish while nodes boot: %v", err)
				return
			}
		}
	})
	usage := versions.Usage{Clients: make(map[string][]string)}
	for _, g := range guests {
		id := s.report(g).Root.TreeVersion
		t.Logf("%s runs %s", g.Name(), id)
		usage.Clients[id] = append(usage.Clients[id], g.Name())
		s.run(g, "/usr/share/sidusboot-test/workload "+id+" </dev/null >/dev/null 2>&1 &")
	}
	cancel()
	wg.Wait()
	for i := range times {
		if err := p.publish(s.ctx); err != nil {
			t.Fatal(err)
		}
		if i%4 == 3 {
			if _, _, err := p.base.Rollback(""); err != nil {
				t.Fatal(err)
			}
		}
		if i%3 == 2 {
			result, err := p.base.GC(versions.GCOptions{Keep: 1, Usage: usage})
			if err != nil {
				t.Fatal(err)
			}
			for id := range usage.Clients {
				if _, err := os.Stat(filepath.Join(p.base.Path(), "versions", id)); err != nil {
					t.Errorf("gc removed what a node runs: %v: %+v", err, result)
				}
			}
		}
		if i%few == few-1 {
			for _, g := range guests {
				s.worked(g)
			}
			t.Logf("%d publications", p.n)
		}
	}
	for _, g := range guests {
		s.run(g, "touch /tmp/stop")
		s.until(g, "cat /tmp/done", "done")
		if got := s.run(g, "cat /tmp/errors; dmesg | grep -i stale || :"); got != "" {
			t.Errorf("%s saw errors:\n%s", g.Name(), got)
		}
		t.Logf("%s: %s rounds", g.Name(), s.run(g, "cat /tmp/rounds"))
		g.Kill()
	}
	// A new boot gets the new version, and after a rollback the one before.
	current, err := p.base.Current()
	if err != nil {
		t.Fatal(err)
	}
	next := s.boot(params, GuestOptions{})
	if got := s.run(next, "cat /usr/share/sidusboot-test/set/1"); got != current {
		t.Errorf("a new boot got %s, want %s", got, current)
	}
	next.Kill()
}

// worked waits until the workload has gone through the tree twice more.
func (s *site) worked(g *Guest) {
	s.t.Helper()
	s.run(g, `n=$(cat /tmp/rounds 2>/dev/null || echo 0); until [ "$(cat /tmp/rounds 2>/dev/null || echo 0)" -gt $((n + 1)) ]; do sleep 0.3; done`)
}
