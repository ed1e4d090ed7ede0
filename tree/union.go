package tree

import (
	"errors"
	"io/fs"
)

// A Union is a tree and a layer over it, seen as one tree.
type Union struct {
	Tree
	// Lower is the tree without the layer.
	Lower Tree
}

// Edit gives a file the text that change makes of its present one, which is empty
// where there is no file. Where something that holds nothing is in the file's
// place, a FIFO, the present text is that of Lower, and the file is written in any
// case: programs would wait for what is there.
func (u Union) Edit(name string, change func(old string) string) error {
	old, err := u.ReadFile(name)
	var kind *KindError
	replace := errors.As(err, &kind) && kind.Empty()
	if replace {
		old, err = u.Lower.ReadFile(name)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := change(string(old))
	if text == string(old) && !replace {
		return nil
	}
	return u.Replace(name, []byte(text))
}
