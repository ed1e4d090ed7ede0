package resident

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/panics"
	"github.com/sidusboot/sidusboot/rwlayer"
)

// releaseTime is what the target gets to take a reservation back at the end.
const releaseTime = 5 * time.Second

// release gives the volume's reservation back at the end of the node, so that
// another machine can have the volume. One that is still mounted keeps it: this
// kernel may write to it to its last moment.
func (s *Session) release() error {
	const disk = "/volume"
	if err := os.Remove(disk); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := unix.Mknod(disk, unix.S_IFBLK|0o600, int(s.Disk)); err != nil {
		return fmt.Errorf("mknod %s: %w", disk, err)
	}
	ended := panics.Go(func() error {
		f, err := os.OpenFile(disk, os.O_RDWR|unix.O_EXCL|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return rwlayer.Release(f, s.Key)
	})
	select {
	case err := <-ended:
		return err
	case <-time.After(releaseTime):
		return fmt.Errorf("no answer after %v", releaseTime)
	}
}
