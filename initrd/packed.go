package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/sidusboot/sidusboot/columns"
	"github.com/sidusboot/sidusboot/image"
)

// A packing says how a module is stored.
type packing string

const (
	// unpacked modules are needed at once. They are in the archive that is compressed as a
	// whole.
	unpacked packing = ""
	// packedZstd is packed here, packedXz is the tree's own file.
	packedZstd packing = image.PackedZstd
	packedXz   packing = image.PackedXz
)

// packRare chooses how each module is stored. A node needs few of the drivers for devices
// that it may have, and most of the time that a large image takes is the kernel's, which
// unpacks all of them. So each one is packed by itself, the kernel only copies it, and it
// is unpacked when a device or a parameter asks for it. What is sure to be needed is not:
// the modules of the other sets, the drivers of the nodes of host=, those that were asked
// for by name, and what they need.
func packRare(k *kernel, chosen []Profile, m *image.Manifest) map[string]packing {
	listed := make(map[string]*image.Module, len(m.Modules))
	for i := range m.Modules {
		listed[m.Modules[i].Name] = &m.Modules[i]
	}
	sure := make(map[string]bool)
	open := slices.Concat(m.First, m.Load)
	for _, name := range joinSets(chosen) {
		if !sets[name].rare {
			open = append(open, sets[name].choose(k)...)
		}
	}
	for _, drivers := range k.hostDrivers {
		open = append(open, drivers...)
	}
	for len(open) > 0 {
		mod := listed[open[len(open)-1]]
		open = open[:len(open)-1]
		if mod == nil || sure[mod.Name] {
			continue
		}
		sure[mod.Name] = true
		open = append(append(append(open, mod.Needs...), mod.Before...), mod.After...)
	}
	unpacks := k.config.unpacksXz()
	how := make(map[string]packing, len(listed))
	for name := range listed {
		switch file := k.files[name]; {
		case sure[name]:
		case unpacks && strings.HasSuffix(file, ".xz") && !isOutside(file):
			how[name] = packedXz
		default:
			how[name] = packedZstd
		}
	}
	return how
}

// A packer packs modules so that /init can unpack them (package zstd of sidusboot),
// several at the same time. Its encoders and their tables are used again and again: to
// make them took longer than to pack most modules.
type packer struct{ encoder *zstd.Encoder }

func newPacker(atOnce int) (packer, error) {
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		zstd.WithEncoderCRC(true),
		zstd.WithSingleSegment(true), // So that even a small one says its size.
		zstd.WithEncoderConcurrency(atOnce))
	return packer{e}, err
}

// pack packs a module by columns, unless something in it would not come out as it was.
func (p packer) pack(module []byte) []byte {
	arranged := bytes.Clone(module)
	if columns.Split(arranged) {
		again := bytes.Clone(arranged)
		if columns.Join(again); bytes.Equal(again, module) {
			return p.encoder.EncodeAll(arranged, nil)
		}
	}
	return p.encoder.EncodeAll(module, nil)
}

// showUnpacked shows a packed module as what it stands for: under the name and with the
// content that it has once it is unpacked.
func (r *Reader) showUnpacked(f *File) error {
	name, ok := image.UnpackedPath(f.Path)
	if !ok || !f.Mode.IsRegular() || f.HardLink != "" {
		return nil
	}
	if f.Bytes > maxFile {
		return fmt.Errorf("%d bytes, too large for a module", f.Bytes)
	}
	packed, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	module, err := decompress(f.Path, packed)
	if err == nil {
		columns.Join(module)
		err = r.spend(int64(len(module)))
	}
	if err != nil {
		// Not wrapped: that a decoder comes to an end does not mean that the image does.
		return errors.New("the packed module is damaged: build the image or copy it again: " + err.Error())
	}
	f.Path, f.Packed, f.Bytes = name, f.Bytes, int64(len(module))
	r.unpacked = bytes.NewReader(module)
	return nil
}
