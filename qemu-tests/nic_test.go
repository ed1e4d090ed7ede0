//go:build qemu

package qemutests

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCardsAndCopiedTree pulls a cable, and changes a tree that is served: what
// other tests of the boot build on.
func TestCardsAndCopiedTree(t *testing.T) {
	t.Parallel()
	lab := newLab(t, LabOptions{})
	ctx, cancel := lab.Watched(t.Context())
	defer cancel()
	tree, kernel, initrd := peerFiles(ctx, t, Suites[0])
	copied, err := lab.CopyTree(ctx, tree)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lab.StartNFS(ctx, NFSOptions{Exports: []Export{{Path: copied, Access: "RW"}}})
	if err != nil {
		t.Fatal(err)
	}
	guest, err := lab.Boot(ctx, GuestOptions{
		Kernel: kernel, Initrd: initrd,
		Cmdline: "root=/dev/nfs nfsroot=" + ServerAddr + ":" + copied +
			",vers=3 ip=10.77.0.50:::255.255.255.0::ens3:none panic=1 init=" + AgentInit,
		NICs: []NIC{{}, {Model: "e1000", LinkDown: true}, {Model: "rtl8139", MAC: "52:54:00:77:01:01"}},
	})
	if err != nil {
		t.Fatal(err)
	}

	carrier := func(mac, script string) string {
		t.Helper()
		out, err := guest.Must(ctx, `for d in /sys/class/net/*; do [ "$(cat $d/address)" = `+mac+` ] || continue
			ip link set ${d##*/} up; `+script+`; done`)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
	// There is no event to wait for: no carrier comes.
	if got := carrier(guest.MAC(1), "sleep 2; cat $d/carrier"); got != "0" {
		t.Errorf("carrier of a card that started without = %q, want 0", got)
	}
	const comes = "until grep -x 1 $d/carrier; do sleep 0.2; done"
	if err := guest.SetLink(ctx, 1, true); err != nil {
		t.Fatal(err)
	}
	if got := carrier(guest.MAC(1), comes); got != "1" {
		t.Errorf("carrier after SetLink = %q, want 1", got)
	}
	if got := carrier("52:54:00:77:01:01", comes); got != "1" {
		t.Errorf("carrier of the third card = %q, want 1", got)
	}

	file := "usr/share/sidusboot-test/new"
	if err := os.WriteFile(lab.Path(filepath.Join(copied, file)), []byte("added\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := guest.Must(ctx, "cat /"+file); err != nil || out != "added\n" {
		t.Errorf("added file = %q, %v, want it seen", out, err)
	}
	if _, err := os.Stat(filepath.Join(tree, file)); err == nil {
		t.Errorf("the shared tree has the file of its copy")
	}

	// Much output, and quotes.
	out, exit, err := guest.Run(ctx, `head -c 150000 /dev/zero | tr '\0' x; printf "\n'%s'\n" '"$HOME"' >&2; exit 3`)
	if want := strings.Repeat("x", 150000) + "\n'\"$HOME\"'\n"; err != nil || exit != 3 || out != want {
		t.Errorf("Run = %d bytes ending in %q, %d, %v, want %d bytes and 3",
			len(out), out[max(0, len(out)-20):], exit, err, len(want))
	}
	short, cancelShort := context.WithTimeout(ctx, time.Second)
	defer cancelShort()
	if _, _, err := guest.Run(short, "sleep 5"); err == nil {
		t.Error("Run past its deadline: no error")
	}
	if out, err := guest.Must(ctx, "echo again"); err != nil || out != "again\n" {
		t.Errorf("Run after one that was given up = %q, %v, want again", out, err)
	}
}
