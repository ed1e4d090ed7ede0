package rwlayer

// An extent is a part of a device.
type extent struct{ offset, length int64 }

// What is read to prove that a device is blank.
const (
	// fullBytes: a device of at most this size is read whole.
	fullBytes = 256 << 20
	// edgeBytes are read at the beginning and at the end of a larger one.
	edgeBytes = 64 << 20
	// samples are read in between, spread evenly.
	samples = 1024
	// pageBytes is what extents are aligned to, for devices with such sectors.
	pageBytes = 4096
	// nearBytes are read to both sides of a place that rounding may have moved.
	nearBytes = 64 << 10
	// stripeBytes are those where a stripe may have moved it.
	stripeBytes = 1<<20 + nearBytes
)

// maxDevice is more than any kernel has: sums of offsets stay numbers.
const maxDevice = 1 << 62

// blankPlan is what is read of a device to prove that it is blank: extents that
// do not overlap, in their order. Of a large device these are its beginning and
// its end, samples, and the places where file systems keep copies of what they
// need most, so that one whose beginning was overwritten is found.
func blankPlan(size int64) []extent {
	if size <= fullBytes {
		return []extent{{0, size}}
	}
	p := planner{size: min(size, maxDevice)}
	size = p.size
	p.around(0, edgeBytes)
	p.around(size, edgeBytes)
	middle := size - 2*edgeBytes
	for i := range int64(samples) {
		p.page(edgeBytes + middle/samples*i)
	}
	// The device as a whole, and the first partition as most tools make it.
	for _, base := range []int64{0, 1 << 20} {
		p.ext(base)
		p.page(base + 64<<20)  // btrfs keeps copies of its superblock here
		p.page(base + 256<<30) // and here (btrfs_sb_offset).
	}
	p.xfs()
	// NTFS: the file table of Windows; its mirror lies in the middle, as do
	// the heads of XFS.
	p.around(3<<30, nearBytes)
	// OCFS2 (ocfs2_backup_super_blkno).
	for at := int64(1 << 30); at <= 1<<40; at *= 4 {
		p.page(at)
	}
	return p.merged()
}

type planner struct {
	size int64
	all  []extent
}

// page adds the page in which offset lies, and the next one.
func (p *planner) page(offset int64) { p.add(offset, offset+pageBytes) }

// around adds what lies near offset.
func (p *planner) around(offset, near int64) { p.add(offset-near, offset+near) }

func (p *planner) add(from, to int64) {
	from = max(from-from%pageBytes, 0)
	to = min(to+pageBytes-1, p.size)
	if to < p.size {
		to -= to % pageBytes
	}
	if from < to {
		p.all = append(p.all, extent{from, to - from})
	}
}

// ext adds the spare superblocks of ext2, ext3 and ext4 at base: they are in the
// groups 1 and the powers of 3, 5 and 7 (ext4_bg_has_super), or in the groups 1
// and the last (sparse_super2). A group is as large as a block of bits can tell.
func (p *planner) ext(base int64) {
	for block := int64(1 << 10); block <= 64<<10; block *= 2 {
		first := int64(0)
		if block == 1<<10 {
			first = 1 // Block 0 is for the boot sector.
		}
		group := 8 * block * block
		for _, root := range []int64{3, 5, 7} {
			for n := int64(1); n <= p.size/group; n *= root {
				p.page(base + first*block + n*group)
			}
		}
		p.page(base + first*block + (p.size-base-1)/group*group)
	}
}

const (
	// xfsGroups is up to how many groups are thought of: four by default, as
	// many as there are processors with mkfs.xfs of today.
	xfsGroups = 64
	// xfsMost is the largest group (XFS_AG_MAX_BYTES).
	xfsMost = 1 << 40
)

// xfs adds the heads of XFS's second allocation group: the groups are equal parts
// of the device, of at most 1 TiB. On a striped device their size is one of whole
// stripes, or a stripe less.
func (p *planner) xfs() {
	for n := int64(2); n <= xfsGroups; n++ {
		near := int64(nearBytes)
		if n&(n-1) == 0 {
			near = stripeBytes
		}
		p.around(p.size/n, near)
	}
	for at := int64(xfsMost); at < p.size && at <= 8*xfsMost; at += xfsMost {
		p.around(at, stripeBytes)
	}
}

// merged are the extents in their order, joined where they meet.
func (p *planner) merged() []extent {
	// By insertion: package slices would sort it no faster than the first read
	// takes, and is 5 kB in /init.
	for i := range p.all {
		for j := i; j > 0 && p.all[j].offset < p.all[j-1].offset; j-- {
			p.all[j], p.all[j-1] = p.all[j-1], p.all[j]
		}
	}
	var out []extent
	for _, e := range p.all {
		if len(out) > 0 {
			last := &out[len(out)-1]
			if end := last.offset + last.length; e.offset <= end {
				last.length = max(end, e.offset+e.length) - last.offset
				continue
			}
		}
		out = append(out, e)
	}
	return out
}
