package mounts

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// RemoveContents removes everything in a directory that is on the file system device. It
// stops at mount points, and a directory that holds one stays.
func RemoveContents(dir string, device uint64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil || st.Dev != device {
			continue
		}
		if e.IsDir() {
			RemoveContents(path, device)
		}
		_ = os.Remove(path)
	}
}
