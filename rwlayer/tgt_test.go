package rwlayer_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/rwlayer"
)

// inNamespace says that this is the copy of the test in namespaces of its own.
const inNamespace = "RWLAYER_TEST_IN_NAMESPACE"

const tgtTarget = "iqn.2013-09.org.example:volume"

// TestTgt has nodes claim, release and take over a volume of a real tgtd, over
// sessions of their own: a restart of the target makes it forget, and a mount by
// another node is noticed all the same.
func TestTgt(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		for _, program := range []string{"tgtd", "tgtadm", "unshare", "ip", "mount", "mkfs.ext4", "debugfs"} {
			if _, err := exec.LookPath(program); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
		}
		if os.Getuid() != 0 {
			t.Skip("namespaces need root")
		}
		cmd := exec.Command("unshare", "-n", "-m", os.Args[0], "-test.run=^TestTgt$", "-test.v", "-test.timeout=120s")
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	sh := func(script string) {
		t.Helper()
		if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	sh("mount --make-rprivate /; mount -t tmpfs tmpfs /run; mkdir /run/tgtd; ip link set lo up; mkfs.ext4 -q /run/disk 16M")
	stop := startTgt(t)
	const one, two = rwlayer.Key(0x1111), rwlayer.Key(0x2222)
	ask := func(who string, f func(c rwlayer.Commander) error) error {
		t.Helper()
		portal, err := iscsi.ParsePortal("127.0.0.1:3260")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		target := iscsi.Target{Name: tgtTarget, Initiator: "iqn.2013-09.org.example:" + who, LUN: 1, Portals: []iscsi.Portal{portal}}
		return target.Ask(ctx, func(u *iscsi.LogicalUnit) error { return f(u) })
	}
	claim := func(key rwlayer.Key) func(rwlayer.Commander) error {
		return func(c rwlayer.Commander) error { return rwlayer.Register(c, key) }
	}
	look := func(key, takeover rwlayer.Key) func(rwlayer.Commander) error {
		return func(c rwlayer.Commander) error { return rwlayer.CheckHolder(c, key, takeover) }
	}
	release := func(key rwlayer.Key) func(rwlayer.Commander) error {
		return func(c rwlayer.Commander) error { return rwlayer.ReleaseByCommands(c, key) }
	}
	var held *rwlayer.HeldError
	for range 20 { // As many logins of a node that is cut off each time.
		if err := ask("one", claim(one)); err != nil {
			t.Fatalf("claim: %v", err)
		}
	}
	if err := ask("two", look(two, 0)); !errors.As(err, &held) || held.Holder != one {
		t.Errorf("another node sees %v", err)
	}
	if err := ask("two", look(two, one)); err != nil {
		t.Errorf("one that may take over: %v", err)
	}
	if err := ask("one", release(one)); err != nil {
		t.Errorf("release: %v", err)
	}
	if err := ask("two", claim(two)); err != nil {
		t.Errorf("another node, when it was released: %v", err)
	}
	if err := ask("one", release(one)); err != nil {
		t.Errorf("release of nothing: %v", err)
	}
	if err := ask("one", claim(one)); !errors.As(err, &held) || held.Holder != two {
		t.Errorf("the first again: %v", err)
	}
	if err := ask("one", release(one)); err != nil {
		t.Error(err)
	}
	if err := ask("two", look(two, 0)); err != nil {
		t.Errorf("the first's key has stayed: %v", err)
	}

	f, err := os.Open("/run/disk")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	own, err := rwlayer.ReadStamp(f)
	if err != nil || own == "" {
		t.Fatalf("stamp %q, %v", own, err)
	}
	stop()
	stop = startTgt(t) // It has forgotten.
	admit := func(c rwlayer.Commander) error { return rwlayer.Admit(c, one, []rwlayer.Stamp{own}) }
	if err := ask("one", admit); err != nil {
		t.Errorf("our own volume: %v", err)
	}
	stop()
	sh("debugfs -w -R 'ssv mnt_count 7' /run/disk")
	stop = startTgt(t)
	if err := ask("one", admit); !errors.Is(err, rwlayer.ErrTaken) {
		t.Errorf("one that another node has mounted: %v", err)
	}
	if err := ask("two", look(two, 0)); err != nil {
		t.Errorf("it has registered: %v", err)
	}
	stop()
	sh("size=$(stat -c %s /run/disk); truncate -s 0 /run/disk; truncate -s $size /run/disk")
	defer startTgt(t)()
	if err := ask("one", admit); !errors.Is(err, rwlayer.ErrReplaced) {
		t.Errorf("an empty one in its place: %v", err)
	}
	if err := ask("two", look(two, 0)); err != nil {
		t.Errorf("it has registered: %v", err)
	}
}

// startTgt starts tgtd with one volume and returns what ends it.
func startTgt(t *testing.T) (stop func()) {
	t.Helper()
	adm := func(args string) error {
		out, err := exec.Command("tgtadm", strings.Fields("-C 9 --lld iscsi "+args)...).CombinedOutput()
		if err != nil {
			return errors.New(args + ": " + string(out))
		}
		return nil
	}
	tgtd := exec.Command("tgtd", "-f", "-C", "9", "--iscsi", "portal=127.0.0.1:3260")
	tgtd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := tgtd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); adm("--op show --mode sys") != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("tgtd does not answer")
		}
	}
	for _, args := range []string{
		"--op new --mode target --tid 1 -T " + tgtTarget,
		"--op new --mode logicalunit --tid 1 --lun 1 -b /run/disk",
		"--op bind --mode target --tid 1 -I ALL",
	} {
		if err := adm(args); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		_ = tgtd.Process.Kill()
		_ = tgtd.Wait()
	}
}
