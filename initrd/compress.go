package initrd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// A compressor packs an archive so that the kernel can unpack it: one frame
// for all of it, because the kernel takes what follows a frame that ends
// within a file as junk (lib/decompress_*.c, init/initramfs.c).
type compressor struct {
	name  string
	magic string
	write func(w io.Writer) (io.WriteCloser, error)
	// writeSmall, where there is one, takes three times as long as write for a tenth less.
	writeSmall func(w io.Writer) (io.WriteCloser, error)
	read       func(r io.Reader) (io.ReadCloser, error)
}

var compressors = []compressor{
	{name: "zstd", magic: "\x28\xb5\x2f\xfd", write: writeZstd, writeSmall: writeZstdSmall, read: readZstd},
	{name: "gzip", magic: "\x1f\x8b", write: writeGzip, read: readGzip},
	{name: "xz", magic: "\xfd7zXZ\x00", write: writeXz, read: readXz},
	{name: "none", magic: "070701", write: writePlain, read: readPlain},
}

// Compressors are the values of Options.Compress, best first.
func Compressors() []string {
	var names []string
	for _, c := range compressors {
		names = append(names, c.name)
	}
	return names
}

func chooseCompressor(name string) (compressor, error) {
	if name == "" {
		return compressors[0], nil
	}
	i := slices.IndexFunc(compressors, func(c compressor) bool { return c.name == name })
	if i < 0 {
		return compressor{}, InvalidOptionf("Compress", "unknown compressor %q: choose one of %s", name, strings.Join(Compressors(), ", "))
	}
	return compressors[i], nil
}

// uncompress finds out how r is packed and unpacks it.
func uncompress(r io.Reader) (io.ReadCloser, string, error) {
	br := bufio.NewReaderSize(r, 1<<16)
	start, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, "", err
	}
	for _, c := range compressors {
		if bytes.HasPrefix(start, []byte(c.magic)) {
			rc, err := c.read(br)
			return rc, c.name, err
		}
	}
	return nil, "", fmt.Errorf("compressed in an unknown way: supported are %s", strings.Join(Compressors(), ", "))
}

func writeZstd(w io.Writer) (io.WriteCloser, error) {
	return newZstd(w, zstd.SpeedBetterCompression)
}

func writeZstdSmall(w io.Writer) (io.WriteCloser, error) {
	return newZstd(w, zstd.SpeedBestCompression)
}

func newZstd(w io.Writer, level zstd.EncoderLevel) (io.WriteCloser, error) {
	return zstd.NewWriter(w,
		zstd.WithEncoderLevel(level),
		// The kernel allocates the window while it unpacks.
		zstd.WithWindowSize(8<<20),
		zstd.WithEncoderCRC(true),
		// The number of processors must not show in the image, so neither it
		// nor jobs that depend on it are left to the default.
		zstd.WithEncoderConcurrency(2))
}

func readZstd(r io.Reader) (io.ReadCloser, error) {
	d, err := zstd.NewReader(r)
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

func writeGzip(w io.Writer) (io.WriteCloser, error) {
	// Level 9 of this library takes ten times as long and packs no better.
	return gzip.NewWriterLevel(w, 8)
}

func readGzip(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }

// writeXz uses the only check that the kernel's decoder has.
func writeXz(w io.Writer) (io.WriteCloser, error) {
	return xz.WriterConfig{CheckSum: xz.CRC32, DictCap: 8 << 20}.NewWriter(w)
}

func readXz(r io.Reader) (io.ReadCloser, error) {
	x, err := xz.NewReader(r)
	return io.NopCloser(x), err
}

func writePlain(w io.Writer) (io.WriteCloser, error) { return nopCloser{w}, nil }

func readPlain(r io.Reader) (io.ReadCloser, error) { return io.NopCloser(r), nil }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
