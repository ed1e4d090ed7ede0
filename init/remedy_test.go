package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/rwlayer"
	"github.com/sidusboot/sidusboot/source"
)

// What an operator can do about an error is said with the parameter, behind what
// the package says, which names none.
func TestWithRemedy(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		says string // what the package says
		want string // what is added
	}{
		{"blank", &rwlayer.BlankError{Name: "/dev/sda"}, "/dev/sda is blank", ": sidus.mkfs=blank allows it"},
		{"held", &rwlayer.HeldError{Holder: 0x1f0e, Own: 1}, "held by another node with key 0x0000000000001f0e", ": if that node will never run again, boot this one once with sidus.rw.takeover=0x0000000000001f0e"},
		{"held by nobody knows whom", &rwlayer.HeldError{Own: 1}, "with an unknown key", ""},
		{"another's", &rwlayer.UnknownOwnerError{Name: "/dev/sda", Volume: rwlayer.Volume{Type: "ext4", UUID: "9c1f0f5e"}, Err: unix.EIO}, "choose it by its label or UUID", ": sidus.rw.adopt=9c1f0f5e"},
		{"another's, which holds it", &rwlayer.UnknownOwnerError{Volume: rwlayer.Volume{UUID: "9c1f0f5e"}, Err: &rwlayer.HeldError{Holder: 2}}, "it is not changed", ": sidus.rw.adopt=9c1f0f5e"},
		{"size", &rwlayer.SizeError{Size: "x", Err: unix.EINVAL}, "the size must be a number", ": see sidus.rw.size="},
		{"union", &overlay.KindError{Kind: overlay.Aufs}, "the kernel has no aufs", ": see sidus.union="},
		{"another tree", &rwlayer.MismatchError{Made: "a", Now: "b"}, "boot the node from a, or choose", ": see sidus.version= and sidus.rw.mismatch="},
		{"no versions", source.ErrNoVersions, "the tree has no versions", ": see sidus.version="},
		{"any other", errors.New("no answer"), "no answer", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := fmt.Errorf("rwlayer: %w", tt.err)
			if strings.Contains(err.Error(), "sidus.") || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("the package says %q, want %q and no parameter", err, tt.says)
			}
			got := withRemedy(err)
			if want := err.Error() + tt.want; got.Error() != want || !errors.Is(got, tt.err) {
				t.Errorf("withRemedy = %q, want %q", got, want)
			}
		})
	}
}
