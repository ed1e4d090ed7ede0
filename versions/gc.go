package versions

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/sidusboot/sidusboot/versions/layout"
)

// Usage is what is known of who runs what.
type Usage struct {
	// Clients are the clients of each version, by ID.
	Clients map[string][]string
	// Open are those of Clients that have files of the version open: what they have
	// mounted since does not count.
	Open map[string][]string
	// Mounts are what clients have mounted and not unmounted, as far as mountd knows
	// it.
	Mounts []Mount
	// Unknown are clients of the base of whom it is not known which version they
	// run. Every version counts as in use then.
	Unknown []string
}

// An UnknownUsageError says that no version may be removed.
type UnknownUsageError struct{ Clients []string }

func (e *UnknownUsageError) Error() string {
	return fmt.Sprintf("it is not known which version these clients run: %v: nothing was removed; give the clients that run none of them", e.Clients)
}

// GCOptions say which versions stay.
type GCOptions struct {
	// Keep is how many of the newest stay, at least 1.
	Keep int
	// Usage says which are in use: they stay too.
	Usage Usage
	// NewestMount takes it that a client runs only the version that it mounted last,
	// where that is known: that it is one node, with one root.
	NewestMount bool
	// DryRun removes nothing.
	DryRun bool
}

// A GCResult says what happened to the versions.
type GCResult struct {
	Removed []string `json:"removed"`
	// Kept are the others, and why.
	Kept map[string]string `json:"kept"`
}

// GC removes versions: not the newest Keep ones, not the current one, not one
// that is in use. A version loses its name before the first file of it goes.
func (b *Base) GC(o GCOptions) (GCResult, error) {
	result := GCResult{Removed: []string{}, Kept: make(map[string]string)}
	if o.Keep < 1 {
		return result, fmt.Errorf("%d versions to keep: keep at least 1", o.Keep)
	}
	err := b.change(func() error {
		current, err := b.Current()
		if err != nil {
			return fmt.Errorf("the current version must be known: %w", err)
		}
		all, err := b.IDs()
		if err != nil {
			return err
		}
		if current == "" && len(all) > 0 {
			return errors.New("no version is current, and it is not known which one is to be: nothing was removed; make one current with sidustree rollback ID")
		}
		replaced := b.replaced(o.Usage.Mounts)
		for i, id := range all {
			since := 0
			clients := slices.DeleteFunc(slices.Clone(o.Usage.Clients[id]), func(c string) bool {
				gone := replaced[id][c] && !slices.Contains(o.Usage.Open[id], c)
				if gone {
					since++
				}
				return gone && o.NewestMount
			})
			switch {
			case id == current:
				result.Kept[id] = "current"
			case len(clients) > 0:
				result.Kept[id] = fmt.Sprintf("in use by %d nodes, %s among them", len(clients), clients[0])
				if since == len(clients) {
					result.Kept[id] += "; each has mounted another version since"
				}
			case i < o.Keep:
				result.Kept[id] = fmt.Sprintf("one of the newest %d", o.Keep)
			case len(o.Usage.Unknown) > 0:
				return &UnknownUsageError{o.Usage.Unknown}
			default:
				if !o.DryRun {
					if err := b.removeVersion(id); err != nil {
						return err
					}
				}
				result.Removed = append(result.Removed, id)
			}
		}
		return nil
	})
	slices.Sort(result.Removed)
	return result, err
}

func (b *Base) removeVersion(id string) error {
	gone := gonePrefix + id
	if err := b.disk.rename(b.all, id, gone); err != nil {
		return err
	}
	// Its name must be gone from the disk before its files are.
	if err := b.disk.sync(b.all, filepath.Join(b.path, layout.Dir)); err != nil {
		return err
	}
	return errors.Join(b.disk.removeAll(b.all, gone), b.forget(id))
}
