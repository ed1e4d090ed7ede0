package rwlayer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/printable"
)

// A volume says which node had it last, in a file beside the upper directory:
// its label and its directories only say that some node had it. The file holds
// nothing secret: the target tells the key to everybody.
const (
	ownerFile = ".sidusboot-owner"
	ownerHead = "sidusboot volume 1\n"
	// maxOwner is more than any such file has: a target's name has at most 223
	// bytes (RFC 7143, 4.2.7.1).
	maxOwner = 1 << 10
)

// An owner is a node, and the place at which it had its volume.
type owner struct {
	key   Key
	place string
}

func (w owner) String() string { return ownerHead + w.key.String() + "\n" + w.place + "\n" }

// parseOwner reads what String has written. What is anything else says nothing.
func parseOwner(text string) (w owner, ok bool) {
	text, ok = strings.CutPrefix(text, ownerHead)
	key, place, more := strings.Cut(text, "\n")
	place, _, whole := strings.Cut(place, "\n")
	number, err := strconv.ParseUint(key, 0, 64)
	return owner{Key(number), place}, ok && more && whole && err == nil && number != 0 && place != ""
}

// readOwner reads the owner of the volume at dir. Whatever lies in the file's
// place, it opens nothing but a file.
func readOwner(dir string) (w owner, ok bool) {
	name := filepath.Join(dir, ownerFile)
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return owner{}, false
	}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return owner{}, false
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxOwner))
	if err != nil {
		return owner{}, false
	}
	return parseOwner(string(b))
}

// fits tells whether a volume with this owner may be this node's: it is the same
// machine, one that the operator takes it over from, or another machine at the
// same place, such as one with a new mainboard.
func (o VolumeOptions) fits(w owner) bool {
	return w.key == o.Reserve || w.key == o.Takeover || w.place == o.Place
}

// markOwner makes this node the owner of the volume at dir, which is mounted. Replaced
// says that inspectContents would have refused the volume to it. That it cannot
// be written, on a full volume, is reported and no error.
func (o VolumeOptions) markOwner(dir string) (replaced bool) {
	if o.Place == "" || o.Reserve == 0 {
		return false
	}
	before, known := readOwner(dir)
	now := owner{o.Reserve, o.Place}
	if known && before == now {
		return false
	}
	if known && before.key != now.key {
		o.Logf("%s belonged to another machine until now, with key %s, as %s: this is right after a new mainboard or network card, or a takeover; if there was none, this node was given the volume of another",
			o.Name, before.key, printable.Text(before.place))
	}
	if err := now.write(dir); err != nil {
		o.Logf("%s: save its owner: %v", o.Name, err)
		return false
	}
	return known && !o.fits(before)
}

func (w owner) write(dir string) (err error) {
	f, err := createFile(filepath.Join(dir, ownerFile+"-new"))
	if err != nil {
		return err
	}
	_, err = f.WriteString(w.String())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, ownerFile))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// An OwnerError says that a volume was another node's, at another place.
type OwnerError struct {
	// Key is the other node's, and Place where it had the volume.
	Key   Key
	Place string
	// Own is this node's key.
	Own Key
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("it belongs to the node with key %s, which had it as %s (this node's key is %s): check whether the target has exchanged its volumes",
		e.Key, printable.Text(e.Place), e.Own)
}
