package qemutests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// defaultGuests is how many guests may run at a time on one machine: an
// emulated guest keeps a processor busy, and tests measure time.
const defaultGuests = 2

// slot waits until one more guest may run. The places are lock files in the
// cache, so they count for all test runs on the machine and are given back by
// the kernel whatever happens to us. SIDUSBOOT_GUESTS sets their number.
func slot(ctx context.Context, logf func(string, ...any)) (release func(), err error) {
	n := defaultGuests
	if s := os.Getenv("SIDUSBOOT_GUESTS"); s != "" {
		if n, err = strconv.Atoi(s); err != nil || n < 1 {
			return nil, fmt.Errorf("SIDUSBOOT_GUESTS=%q: want a number from 1", s)
		}
	}
	dir, err := cacheDir("locks")
	if err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		for i := range n {
			f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("guest%d", i)), os.O_CREATE|os.O_RDWR, 0o644)
			if err != nil {
				return nil, err
			}
			if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
				return func() { f.Close() }, nil
			}
			f.Close()
		}
		if tries == 50 {
			logf("waiting for one of %d guests on this machine to end", n)
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for one of %d guests on this machine to end: %w", n, ctx.Err())
		}
	}
}
