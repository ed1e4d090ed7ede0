package resident

import (
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/panics"
	"github.com/sidusboot/sidusboot/rwlayer"
)

// An admission decides whether this node may write to its volume again after a
// new login.
type admission struct {
	key rwlayer.Key
	// stamps are those that this node's mount of the volume has had; none where
	// its file system has none.
	stamps []rwlayer.Stamp
	// disk is the volume.
	disk *os.File
	// read is the look at the disk that is under way.
	read chan rwlayer.Stamp
}

func newAdmission(disk string, s *Session) (*admission, error) {
	a := &admission{key: s.Key}
	if s.Stamp == "" {
		return a, nil
	}
	a.stamps = []rwlayer.Stamp{s.Stamp}
	var err error
	a.disk, err = os.OpenFile(disk, os.O_RDONLY|unix.O_CLOEXEC, 0)
	return a, err
}

// readStamp reads the stamp of a volume that has been mounted.
func readStamp(device string) (rwlayer.Stamp, error) {
	f, err := os.Open(device)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return rwlayer.ReadStamp(f)
}

// admit is iscsi.Target.Admit.
func (a *admission) admit(u *iscsi.LogicalUnit) error {
	a.refresh()
	return rwlayer.Admit(u, a.key, a.stamps)
}

// cacheTime is what a look into the kernel's cache may take.
const cacheTime = time.Second

// refresh notes what this kernel itself has made of the stamp, by a remount. The
// file system keeps its superblock in the cache of its disk: the look needs no
// answer from a target that is gone, and if it does it is not waited for.
func (a *admission) refresh() {
	if a.disk == nil {
		return
	}
	if a.read == nil {
		read := make(chan rwlayer.Stamp, 1)
		a.read = read
		panics.Go(func() error {
			stamp, err := rwlayer.ReadStamp(a.disk)
			read <- stamp
			return err
		})
	}
	select {
	case stamp := <-a.read:
		a.read = nil
		if stamp != "" && !slices.Contains(a.stamps, stamp) {
			a.stamps = append(a.stamps, stamp)
		}
	case <-time.After(cacheTime):
	}
}
