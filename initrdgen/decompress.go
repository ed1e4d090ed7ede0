package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxUnpacked is the most that one file of a tree may unpack to: more is a
// broken file or a bomb, and a newc archive holds no file of 4 GiB.
const maxUnpacked = 1 << 30

// decompress unpacks a file that its name says is compressed. Images hold
// modules and firmware plain: finit_module needs no flag then, any kernel has
// the means, and one compressor over all does better.
func decompress(name string, data []byte) ([]byte, error) {
	var r io.Reader
	var err error
	switch {
	case strings.HasSuffix(name, ".xz"):
		r, err = xz.NewReader(bytes.NewReader(data))
	case strings.HasSuffix(name, ".zst"):
		var d *zstd.Decoder
		// One goroutine for each file: the files are read side by side already.
		d, err = zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1))
		if err == nil {
			defer d.Close()
			r = d
		}
	case strings.HasSuffix(name, ".gz"):
		r, err = gzip.NewReader(bytes.NewReader(data))
	default:
		return data, nil
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(6 * len(data))
	n, err := io.Copy(&b, io.LimitReader(r, maxUnpacked+1))
	if err != nil {
		return nil, err
	}
	if n > maxUnpacked {
		return nil, fmt.Errorf("unpacks to more than %d bytes", maxUnpacked)
	}
	return b.Bytes(), nil
}
