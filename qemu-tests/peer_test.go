//go:build qemu

package qemutests

import (
	"context"
	"strings"
	"testing"
)

// peer boots the peer's initrd on a tree, with servers for it.
func peer(ctx context.Context, t *testing.T, suite, words string) *Guest {
	t.Helper()
	lab := newLab(t, LabOptions{})
	tree, err := Tree(ctx, suite)
	if err != nil {
		t.Fatal(err)
	}
	kernel, _, err := Kernel(tree)
	if err != nil {
		t.Fatal(err)
	}
	initrd, err := PeerInitrd(ctx, tree)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.StartNFS(ctx, NFSOptions{Exports: []Export{{Path: tree}}}); err != nil {
		t.Fatal(err)
	}
	hosts := []DHCPHost{{MAC: MAC(1), Addr: "10.77.0.11", Name: "node11"}}
	if _, err := lab.StartDHCP(ctx, DHCPOptions{Hosts: hosts, Domain: "sidus.test"}); err != nil {
		t.Fatal(err)
	}
	guest, err := lab.Boot(ctx, GuestOptions{
		Name: "peer", Kernel: kernel, Initrd: initrd, Cmdline: PeerWords(tree) + " panic=1 " + words,
	})
	if err != nil {
		t.Fatal(err)
	}
	return guest
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
