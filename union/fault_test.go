package union

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/overlay"
)

// What the union says decides whether the version of NFS or /rw is the cause.
func TestVersionAtFault(t *testing.T) {
	for _, tt := range []struct {
		kept bool
		err  error
		want bool
	}{
		{false, unix.EREMOTEIO, true},
		{true, unix.EREMOTEIO, true},
		{true, unix.ESTALE, true},
		{false, unix.EIO, true},
		{false, unix.ENOSPC, false},
		{false, unix.ENOMEM, false},
	} {
		t.Run(fmt.Sprint(tt.kept), func(t *testing.T) {
			b := &Builder{Kept: tt.kept}
			if got := b.VersionAtFault(overlay.Overlay, fmt.Errorf("list /etc: %w", tt.err)); got != tt.want {
				t.Errorf("%v kept %v: VersionAtFault = %v, want %v", tt.err, tt.kept, got, tt.want)
			}
		})
	}
}
