package initrd

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
	ucpio "github.com/u-root/u-root/pkg/cpio"
)

// An entry is one file or directory of an image. Its path has no leading
// slash.
type entry struct {
	path string
	mode uint32 // Permissions.
	dir  bool
	pad  int // How many NULs are behind the name, so that the content begins further on.
	// data waits until the content is there; nil for a directory.
	data func(ctx context.Context) ([]byte, error)
}

func fileEntry(name string, mode uint32, data []byte) entry {
	return entry{path: strings.TrimPrefix(name, "/"), mode: mode,
		data: func(context.Context) ([]byte, error) { return data, nil }}
}

func dirEntry(name string, mode uint32) entry {
	return entry{path: strings.TrimPrefix(name, "/"), mode: mode, dir: true}
}

// withParents adds the directories that lead to the entries, which the kernel
// does not make by itself, and sorts: a directory comes before what is in it.
func withParents(entries []entry) []entry {
	have := make(map[string]bool)
	for _, e := range entries {
		have[e.path] = true
	}
	for _, e := range slices.Clone(entries) {
		for dir := path.Dir(e.path); dir != "." && !have[dir]; dir = path.Dir(dir) {
			have[dir] = true
			entries = append(entries, dirEntry(dir, 0o755))
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	return entries
}

// devices are the nodes that PID 1 cannot do without. The Go runtime opens
// /dev/null before main where the kernel found no console to hand it, and a
// runtime that cannot ends PID 1, which is a kernel panic.
var devices = []ucpio.Record{
	ucpio.Directory("dev", 0o755),
	ucpio.CharDev("dev/console", 0o600, 5, 1),
	ucpio.CharDev("dev/null", 0o666, 1, 3),
}

// A PackedFile is a file of an image, or a directory.
type PackedFile struct {
	Path string `json:"path"`
	// Mode is its type and permissions as st_mode has them, in octal.
	Mode  string `json:"mode"`
	Bytes int64  `json:"bytes"`
}

// An archive writes newc. Nothing in it depends on when, where or by whom it is
// written.
type archive struct {
	w     *bufio.Writer
	cw    *cpio.Writer
	files []PackedFile
}

// appendArchive starts an archive that follows another one.
func appendArchive(w io.Writer) *archive {
	bw := bufio.NewWriterSize(w, 1<<20)
	return &archive{w: bw, cw: cpio.NewWriter(bw)}
}

// newArchive starts an archive with the device nodes.
func newArchive(w io.Writer) (*archive, error) {
	a := appendArchive(w)
	// The writer for the rest cannot write device nodes. Records of newc simply
	// follow one another, so these go ahead, without a trailer of their own:
	// cpio -t would end there.
	dw := ucpio.Newc.Writer(a.w)
	for i, rec := range devices {
		rec = ucpio.MakeReproducible(rec)
		rec.Ino = uint64(1<<20 + i) // Out of the way of the other writer's.
		if err := dw.WriteRecord(rec); err != nil {
			return nil, fmt.Errorf("%s: %w", rec.Name, err)
		}
		a.files = append(a.files, PackedFile{Path: rec.Name, Mode: fmt.Sprintf("%06o", rec.Mode)})
	}
	return a, nil
}

// add writes entries, and the content of each as soon as it is there.
func (a *archive) add(ctx context.Context, entries []entry) error {
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// Links must stay below 2 for files, or the kernel looks for the other
		// names. Checksum must stay 0: once set, every later header of the
		// library claims one, and the kernel believes it.
		hdr := &cpio.Header{Name: e.path + strings.Repeat("\x00", e.pad), Mode: cpio.TypeReg | cpio.FileMode(e.mode), Links: 1}
		var data []byte
		if e.dir {
			hdr.Mode, hdr.Links = cpio.TypeDir|cpio.FileMode(e.mode), 2
		} else {
			var err error
			if data, err = e.data(ctx); err != nil {
				return err
			}
			hdr.Size = int64(len(data))
		}
		if hdr.Size > maxFile {
			// newc has 8 hex digits for it, and the library cuts silently.
			return fmt.Errorf("%s: %d bytes, too large for a file in an initrd", e.path, hdr.Size)
		}
		a.files = append(a.files, PackedFile{Path: e.path, Mode: fmt.Sprintf("%06o", uint32(hdr.Mode)), Bytes: hdr.Size})
		if err := a.cw.WriteHeader(hdr); err != nil {
			return fmt.Errorf("%s: %w", e.path, err)
		}
		if _, err := a.cw.Write(data); err != nil {
			return fmt.Errorf("%s: %w", e.path, err)
		}
	}
	return nil
}

// close ends the archive. It does not close what it is written to.
func (a *archive) close() error {
	if err := a.cw.Close(); err != nil {
		return err
	}
	return a.w.Flush()
}
