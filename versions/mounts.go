package versions

import (
	"encoding/json"
	"errors"
)

// A Mount is a line of mountd's file: how often a client has mounted a version
// and has not said that it unmounted it. A client that restarts says nothing.
type Mount struct {
	Client string `json:"client"`
	ID     string `json:"id"`
	Count  uint64 `json:"count"`
	// Round is the last publication before which the count grew, as far as it is
	// known.
	Round int `json:"round"`
}

// mountsFile has the mounts that were there before the last publication or
// rollback. mountd writes down no times, and a line keeps its place when its
// count grows. So what came after what is only known by looking at it when current
// moves: a line that did not change since then is older than one that did.
const mountsFile = "mounts"

type mountsNote struct {
	Round  int     `json:"round"`
	Mounts []Mount `json:"mounts"`
}

// readMounts is the note; an empty one where there is none, or none that can be
// read: then nothing is known to be older than anything else.
func (b *Base) readMounts() mountsNote {
	var n mountsNote
	text, err := b.noteFile(mountsFile)
	if err != nil || json.Unmarshal(text, &n) != nil {
		return mountsNote{}
	}
	return n
}

// after is the note that follows when these mounts are there.
func (n mountsNote) after(mounts []Mount) mountsNote {
	type key struct{ client, id string }
	old := make(map[key]Mount)
	for _, m := range n.Mounts {
		old[key{m.Client, m.ID}] = m
	}
	next := mountsNote{Round: n.Round + 1, Mounts: []Mount{}}
	// A count that fell may be of a file that was made again: of such a client nothing
	// is known.
	fell := make(map[string]bool)
	for _, m := range mounts {
		before, known := old[key{m.Client, m.ID}]
		m.Round = next.Round
		if known && m.Count == before.Count {
			m.Round = before.Round
		}
		if known && m.Count < before.Count {
			fell[m.Client] = true
		}
		next.Mounts = append(next.Mounts, m)
	}
	for i := range next.Mounts {
		if fell[next.Mounts[i].Client] {
			next.Mounts[i].Round = next.Round
		}
	}
	return next
}

// noteMounts writes down which mounts are there before current moves. Where that
// is not known nothing is written.
func (b *Base) noteMounts(mounts []Mount) error {
	if mounts == nil {
		return nil
	}
	text, err := json.Marshal(b.readMounts().after(mounts))
	if err != nil {
		return err
	}
	temporary := newPrefix + mountsFile
	f, err := b.disk.create(b.note, temporary)
	if err != nil {
		return err
	}
	defer f.Close()
	err = b.disk.do("write", mountsFile, func() error {
		_, err := f.Write(append(text, '\n'))
		return errors.Join(err, f.Sync())
	})
	if err != nil {
		return errors.Join(err, b.disk.unlink(b.note, temporary, 0))
	}
	return b.disk.rename(b.note, temporary, mountsFile)
}

// replaced tells of clients that have mounted another version after all their
// mounts of one: by ID, the clients.
func (b *Base) replaced(mounts []Mount) map[string]map[string]bool {
	now := b.readMounts().after(mounts)
	newest := make(map[string]int)
	for _, m := range now.Mounts {
		newest[m.Client] = max(newest[m.Client], m.Round)
	}
	all := make(map[string]map[string]bool)
	for _, m := range now.Mounts {
		if m.Round == newest[m.Client] {
			continue
		}
		if all[m.ID] == nil {
			all[m.ID] = make(map[string]bool)
		}
		all[m.ID][m.Client] = true
	}
	return all
}
