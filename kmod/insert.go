package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/columns"
	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/zstd"
)

// A DamagedError says that a module is in the image and cannot be unpacked.
type DamagedError struct {
	// File is its path in the image.
	File string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s in this image is damaged: build the image again, or copy it to the boot server again: %v", e.File, e.Err)
}

// Unwrap returns Err.
func (e *DamagedError) Unwrap() error { return e.Err }

// insertFile gives the kernel a module of the image, which is there as it is or packed.
// The bytes that the kernel gets are those of the tree's file, whose signature they have.
func insertFile(path, params string) error {
	err := insertOpened(path, params, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file := path + image.PackedZstd
	packed, err := os.ReadFile(file)
	switch {
	case err == nil:
		module, err := zstd.Decode(packed, image.MaxModule)
		if err != nil {
			return &DamagedError{file, err}
		}
		columns.Join(module)
		return explain(unix.InitModule(module, params))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	file = path + image.PackedXz
	err = insertOpened(file, params, unix.MODULE_INIT_COMPRESSED_FILE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return &DamagedError{file, fmt.Errorf("the kernel cannot decompress it: %w", err)}
	}
	return err
}

// insertOpened is finit_module(2).
func insertOpened(path, params string, flags int) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return explain(unix.FinitModule(fd, params, flags))
}

// explain tells an unknown symbol from a missing file, for which the kernel has the same
// number.
func explain(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return errors.New("unknown symbol, a module that it needs is not loaded")
	}
	return err
}
