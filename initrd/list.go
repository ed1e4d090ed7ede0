package initrd

import (
	"errors"
	"fmt"
	"io"

	"github.com/cavaliergopher/cpio"
)

// List returns the files of an image in their order.
func List(r io.Reader) ([]PackedFile, error) {
	archive, _, err := uncompress(r)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	var files []PackedFile
	for cr := cpio.NewReader(archive); ; {
		hdr, err := cr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		files = append(files, PackedFile{Path: hdr.Name, Mode: fmt.Sprintf("%06o", uint32(hdr.Mode)), Bytes: hdr.Size})
	}
}
