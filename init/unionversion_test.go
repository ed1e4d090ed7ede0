package main

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/overlay"
)

// What the union says decides whether the version of NFS or /rw is the cause.
func TestVersionAtFault(t *testing.T) {
	for _, tt := range []struct {
		rw   string
		err  error
		want bool
	}{
		{"tmpfs", unix.EREMOTEIO, true},
		{"iscsi", unix.EREMOTEIO, true},
		{"iscsi", unix.ESTALE, true},
		{"tmpfs", unix.EIO, true},
		{"tmpfs", unix.ENOSPC, false},
		{"tmpfs", unix.ENOMEM, false},
	} {
		n := &node{report: &bootlog.Report{RW: bootlog.RW{Kind: tt.rw}}}
		if got := n.versionAtFault(overlay.Overlay, fmt.Errorf("list /etc: %w", tt.err)); got != tt.want {
			t.Errorf("%v over %s: versionAtFault = %v, want %v", tt.err, tt.rw, got, tt.want)
		}
	}
}
