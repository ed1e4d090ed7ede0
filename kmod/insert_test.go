package kmod

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/zstd"
)

// TestInsertDamaged has packed modules that cannot be unpacked: the kernel is not asked.
func TestInsertDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"empty": "", "other": "no zstd, but long enough", "cut": "\x28\xb5\x2f\xfd\x24\x05\x29\x00\x00he"} {
		path := filepath.Join(dir, name+".ko")
		if err := os.WriteFile(path+image.PackedZstd, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := insertFile(path, "")
		var damaged *DamagedError
		if !errors.As(err, &damaged) || damaged.File != path+image.PackedZstd || !errors.Is(err, zstd.ErrDamaged) && !errors.Is(err, zstd.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := insertFile(filepath.Join(dir, "none.ko"), ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
