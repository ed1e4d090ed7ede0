//go:build qemu

package qemutests

import (
	"context"
	"strings"
	"testing"
)

// peer boots the peer's initrd on a tree, with servers for it.
func peer(ctx context.Context, t *testing.T, suite, params string) *Guest {
	t.Helper()
	lab := newLab(t, LabOptions{})
	tree, kernel, initrd := peerFiles(ctx, t, suite)
	if err := lab.StartServers(ctx, Export{Path: tree}, ""); err != nil {
		t.Fatal(err)
	}
	guest, err := lab.Boot(ctx, GuestOptions{
		Name: "peer", Kernel: kernel, Initrd: initrd, Cmdline: PeerParams(tree) + " panic=1 " + params,
	})
	if err != nil {
		t.Fatal(err)
	}
	return guest
}

// peerFiles are what the peer boots of a suite.
func peerFiles(ctx context.Context, t *testing.T, suite string) (tree, kernel, initrd string) {
	t.Helper()
	tree, err := Tree(ctx, suite)
	if err != nil {
		t.Fatal(err)
	}
	if kernel, _, err = Kernel(tree); err != nil {
		t.Fatal(err)
	}
	if initrd, err = PeerInitrd(ctx, tree); err != nil {
		t.Fatal(err)
	}
	return tree, kernel, initrd
}

// TestPeerProbe boots the peer with the agent as its init: the cheapest look at
// a union.
func TestPeerProbe(t *testing.T) {
	t.Parallel()
	Require(t)
	for _, suite := range Suites {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			if suite != Suites[0] {
				Soak(t)
			}
			ctx := t.Context()
			guest := peer(ctx, t, suite, "init="+AgentInit)

			out, err := guest.Must(ctx, "cat /usr/share/sidusboot-test/lower; echo changed > /usr/share/sidusboot-test/lower; stat -f -c %T / /ro; cat /proc/uptime")
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(out, "\n")
			if lines[0] != "from the shared tree" || lines[1] != "overlayfs" || lines[2] != "nfs" {
				t.Errorf("got %q, want the shared file on overlayfs over nfs", lines)
			}
			t.Logf("uptime at the probe: %s", lines[3])
			if _, exit, err := guest.Run(ctx, "exit 7"); err != nil || exit != 7 {
				t.Errorf("exit 7: got %d, %v", exit, err)
			}
			traffic, err := guest.Traffic(0)
			if err != nil || traffic.ReceivedBytes == 0 || traffic.SentPackets == 0 {
				t.Errorf("traffic %+v, %v: want some", traffic, err)
			}
			t.Logf("traffic: %+v", traffic)

			go guest.Run(ctx, "echo o > /proc/sysrq-trigger")
			exit, err := guest.Wait(ctx)
			if err != nil || exit.Reason != PoweredOff {
				t.Errorf("got %+v, %v, want %s", exit, err, PoweredOff)
			}
			t.Logf("ran %v", exit.Ran)
		})
	}
}
