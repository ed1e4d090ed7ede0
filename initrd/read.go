package initrd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"syscall"
)

// A Reader reads the files of an initrd of any generator, one after another: cpio
// archives in the format newc, each compressed or not, one behind the other, as
// the kernel unpacks them (init/initramfs.c). It keeps no content in memory.
//
// It takes gzip, zstd, xz without BCJ filters, lz4 in the legacy format, bzip2 and
// lzma. What the kernel would refuse is an *ArchiveError.
type Reader struct {
	// Limit is how many bytes the archives may have in all, unpacked.
	Limit int64

	src      *source
	archives []Archive
	// stream has the archive that is being read, unpacked: src itself, or what comes out
	// of a decoder; nil between archives.
	stream *source
	closer io.Closer // Of the decoder.
	inside bool      // Inside an archive, not behind its trailer.
	// name, left and pad are about the file that is being read.
	name string
	size int64
	left int64
	pad  int
	// unpacked has a module that was packed by itself.
	unpacked *bytes.Reader
	// names has the first name of each file with several.
	names map[linkKey]string
	spent int64
	files int
	err   error
}

// A linkKey is what the names of one file have in common.
type linkKey struct{ ino, major, minor uint32 }

// DefaultLimit is the Limit of a new Reader.
const DefaultLimit = 4 << 30

// maxFiles is how many files all archives of an image may have.
const maxFiles = 1 << 20

// An Archive is one of the archives of an image.
type Archive struct {
	// Offset is where it begins in the image.
	Offset int64 `json:"offset"`
	// Compression is "none" or the name of a format.
	Compression string `json:"compression"`
	// Files is how many files it has.
	Files int `json:"files"`
	// Bytes is the size of its files.
	Bytes int64 `json:"bytes"`
	// Early says that it has what the kernel takes from it before it starts
	// processors and reads ACPI: microcode, tables.
	Early bool `json:"early,omitempty"`
}

// A File is a file in an image, or a directory, a link or a device.
type File struct {
	// Path is its name in the archive, without a leading "./".
	Path string `json:"path"`
	// Mode is its type and permissions.
	Mode  Mode  `json:"mode"`
	Bytes int64 `json:"bytes"`
	// Link is where a symbolic link leads to.
	Link string `json:"link,omitempty"`
	// HardLink is the first name of a file that has several, for the others.
	HardLink string `json:"hard_link,omitempty"`
	// Packed is the size in the archive of a module that sidusboot packed by itself. Path,
	// Bytes and what is read are those of the module.
	Packed int64 `json:"packed_bytes,omitempty"`
	// Device has the numbers of a device, as in "1:3".
	Device string `json:"device,omitempty"`
	// Archive is the number of its archive, from 0.
	Archive int `json:"archive"`
}

// An ArchiveError says where an image is damaged, or has what is not supported.
type ArchiveError struct {
	// Offset is where the archive begins in the image.
	Offset int64
	// Compression is that of the archive; empty where it is none.
	Compression string
	// File is the one that is being read; empty between files.
	File string
	Err  error
}

func (e *ArchiveError) Error() string {
	where := fmt.Sprintf("archive at byte %d", e.Offset)
	if e.Compression != "" && e.Compression != "none" {
		where += " (" + e.Compression + ")"
	}
	if e.File != "" {
		where += ": " + e.File
	}
	return where + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *ArchiveError) Unwrap() error { return e.Err }

var (
	errCut   = errors.New("ends too early: the image is cut short or damaged: build it or copy it again")
	errEmpty = errors.New("the image is empty")
	errNone  = errors.New("neither a cpio archive (format newc) nor compressed in a way that the kernel supports: check that this file is an initrd")
	errJunk  = errors.New("after the archive comes data that is not an archive, and the kernel refuses that")
)

// NewReader reads the image that r has.
func NewReader(r io.Reader) *Reader {
	return &Reader{Limit: DefaultLimit, src: &source{r: bufio.NewReaderSize(r, 1<<16)}}
}

// Archives are those that were read so far.
func (r *Reader) Archives() []Archive { return r.archives }

// Next goes on to the next file. At the end of the image it returns io.EOF.
func (r *Reader) Next() (*File, error) {
	if r.err != nil {
		return nil, r.err
	}
	f, err := r.next()
	if err != nil {
		r.fail(err)
		return nil, r.err
	}
	return f, nil
}

// Read reads the content of the file that Next returned last.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.unpacked != nil {
		return r.unpacked.Read(p)
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.stream.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if spent := r.spend(int64(n)); spent != nil {
		err = spent
	}
	if err != nil {
		r.fail(unexpected(err))
		return n, r.err
	}
	return n, nil
}

// fail ends the reading.
func (r *Reader) fail(err error) {
	r.close()
	r.err = err
	if known := (*ArchiveError)(nil); errors.As(err, &known) || errors.Is(err, io.EOF) {
		return
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCut
		if r.size > 0 {
			err = fmt.Errorf("%d of %d bytes are there: %w", r.size-r.left, r.size, err)
		}
	}
	e := &ArchiveError{Offset: r.src.offset, File: r.name, Err: err}
	if n := len(r.archives); n > 0 && r.stream != nil {
		e.Offset, e.Compression = r.archives[n-1].Offset, r.archives[n-1].Compression
	}
	r.err = e
	r.stream = nil
}

func (r *Reader) close() {
	if r.closer != nil {
		_ = r.closer.Close()
	}
	r.closer = nil
}

func (r *Reader) spend(n int64) error {
	if r.spent += n; r.spent > r.Limit {
		return fmt.Errorf("the archives are more than %d MB unpacked, which is the limit", r.Limit>>20)
	}
	return nil
}

func (r *Reader) next() (*File, error) {
	if err := r.skip(r.left + int64(r.pad)); err != nil {
		return nil, err
	}
	r.name, r.size, r.left, r.pad, r.unpacked = "", 0, 0, 0, nil
	for {
		if r.stream == nil {
			if err := r.open(); err != nil {
				return nil, err
			}
		}
		if !r.inside {
			more, err := r.reenter()
			if err != nil {
				return nil, err
			}
			if !more {
				continue
			}
		}
		h, err := readHeader(r.stream)
		if err != nil {
			return nil, unexpected(err)
		}
		if err := r.spend(headerSize + int64(len(h.name))); err != nil {
			return nil, err
		}
		if h.name == trailer {
			r.inside, r.names = false, nil
			if err := r.skip(h.size + int64(padding(h.size))); err != nil {
				return nil, err
			}
			continue
		}
		return r.file(h)
	}
}

// open finds the next archive of the image.
func (r *Reader) open() error {
	if err := r.skipZeros(r.src); err != nil {
		if errors.Is(err, io.EOF) && len(r.archives) == 0 {
			return errEmpty
		}
		return err
	}
	start, err := r.src.r.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	archive := Archive{Offset: r.src.offset, Compression: "none"}
	switch f, ok := findFormat(start); {
	case strings.HasPrefix(string(start), "0707") || strings.HasPrefix("0707", string(start)):
		r.stream = r.src
	case !ok:
		return errNone
	case f.open == nil:
		return fmt.Errorf("compressed as %s, which is not supported: %s", f.name, f.remedy)
	default:
		archive.Compression = f.name
		r.archives = append(r.archives, archive)
		r.stream = r.src // For the error.
		decoder, err := f.open(r.src)
		if err != nil {
			return unexpected(err)
		}
		r.closer, _ = decoder.(io.Closer)
		r.stream = &source{r: bufio.NewReaderSize(decoder, 1<<16)}
		r.inside = true
		return nil
	}
	r.archives = append(r.archives, archive)
	r.inside = true
	return nil
}

// reenter goes on behind a trailer: in what a decoder gives may be further
// archives, in the image itself may be any.
func (r *Reader) reenter() (more bool, err error) {
	if r.stream == r.src {
		r.stream = nil
		return false, nil
	}
	switch err := r.skipZeros(r.stream); {
	case errors.Is(err, io.EOF):
		r.close()
		r.stream = nil
		return false, nil
	case err != nil:
		return false, err
	}
	if c, err := r.stream.r.Peek(1); err != nil || c[0] != '0' {
		return false, errJunk
	}
	r.inside = true
	return true, nil
}

// file is the next file, behind whose header the stream is.
func (r *Reader) file(h header) (*File, error) {
	r.name = h.name
	if r.files++; r.files > maxFiles {
		return nil, fmt.Errorf("the image has more than %d files", maxFiles)
	}
	f := &File{Path: cleanName(h.name), Mode: Mode(h.mode), Bytes: h.size, Archive: len(r.archives) - 1}
	archive := &r.archives[f.Archive]
	archive.Files++
	archive.Bytes += h.size
	if strings.HasPrefix(f.Path, "kernel/x86/microcode/") || strings.HasPrefix(f.Path, "kernel/firmware/acpi/") {
		archive.Early = true
	}
	r.size, r.left, r.pad = h.size, h.size, padding(h.size)
	switch h.mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		if h.links > 1 {
			key := linkKey{h.ino, h.major, h.minor}
			if r.names == nil {
				r.names = make(map[linkKey]string)
			}
			if first, ok := r.names[key]; ok {
				f.HardLink = first
			} else {
				r.names[key] = f.Path
			}
		}
		if err := r.showUnpacked(f); err != nil {
			return nil, err
		}
	case syscall.S_IFLNK:
		if h.size == 0 || h.size > maxPath {
			return nil, fmt.Errorf("a link whose target has %d bytes, where the kernel accepts 1 to %d", h.size, maxPath)
		}
		target := make([]byte, h.size)
		if _, err := io.ReadFull(r, target); err != nil {
			return nil, unexpected(err)
		}
		f.Link, _, _ = strings.Cut(string(target), "\x00")
	case syscall.S_IFCHR, syscall.S_IFBLK:
		f.Device = fmt.Sprintf("%d:%d", h.rmajor, h.rminor)
	}
	return f, nil
}

// cleanName is a name as paths are written elsewhere. One that leads out of the
// image stays as it is.
func cleanName(name string) string {
	if path.IsAbs(name) || hasDotDot(name) {
		return name
	}
	return path.Clean(name)
}

func hasDotDot(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return true
		}
	}
	return false
}

// skip passes over content.
func (r *Reader) skip(n int64) error {
	if n == 0 {
		return nil
	}
	done, err := io.CopyN(io.Discard, r.stream, min(n, r.Limit-r.spent+1))
	r.left = max(0, r.left-done)
	if spent := r.spend(done); spent != nil {
		return spent
	}
	return unexpected(err)
}

// skipZeros passes over the padding between archives. io.EOF: there is nothing
// behind it.
func (r *Reader) skipZeros(s *source) error {
	for {
		if _, err := s.r.Peek(1); err != nil {
			return err
		}
		b, _ := s.r.Peek(s.r.Buffered())
		n := 0
		for n < len(b) && b[n] == 0 {
			n++
		}
		_, _ = s.r.Discard(n)
		s.offset += int64(n)
		if err := r.spend(int64(n)); err != nil {
			return err
		}
		if n < len(b) {
			return nil
		}
	}
}
