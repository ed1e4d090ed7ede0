package initrd

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// A Listing is what is in an image.
type Listing struct {
	Archives []Archive `json:"archives"`
	Files    []File    `json:"files"`
}

// List reads all of an image. Where it is damaged, what comes before is in the
// listing that is returned with the error.
func List(image io.Reader) (*Listing, error) {
	r := NewReader(image)
	l := &Listing{Files: []File{}}
	for {
		f, err := r.Next()
		if err != nil {
			l.Archives = r.Archives()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return l, err
		}
		l.Files = append(l.Files, *f)
	}
}

// A NotFoundError says that an image has no such file, or none with content.
type NotFoundError struct {
	Path string
	// What is there instead; empty where nothing is.
	What string
}

func (e *NotFoundError) Error() string {
	if e.What != "" {
		return fmt.Sprintf("%s: %s, not a file", e.Path, e.What)
	}
	return e.Path + ": the image has no such file"
}

// Cat writes the content of a file of an image. Links in the image are followed. Of a
// file that is in several archives, the last one counts, as for the kernel.
func Cat(w io.Writer, image io.ReadSeeker, name string) error {
	l, err := List(image)
	if err != nil {
		return err
	}
	number, err := l.find(name)
	if err != nil {
		return err
	}
	if _, err := image.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := NewReader(image)
	for range number + 1 {
		if _, err := r.Next(); err != nil {
			return err
		}
	}
	_, err = io.Copy(w, r)
	return err
}

// find gives the number of a file in the listing: the one that has the content.
func (l *Listing) find(name string) (int, error) {
	last := make(map[string]int)
	for i, f := range l.Files {
		// Of several names of one file, one has the content.
		if f.HardLink != "" && f.Bytes == 0 {
			if first, ok := last[f.HardLink]; ok {
				last[f.Path] = first
				continue
			}
		}
		if f.HardLink != "" {
			last[f.HardLink] = i
		}
		last[f.Path] = i
	}
	done, rest, links := ".", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		next := path.Join(done, rest[0])
		switch rest[0] {
		case "", ".":
			next = done
		case "..":
			next = path.Dir(done)
		}
		rest = rest[1:]
		i, ok := last[next]
		if !ok || !l.Files[i].Mode.IsLink() {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return 0, &NotFoundError{Path: name, What: "a loop of links"}
		}
		target := l.Files[i].Link
		if path.IsAbs(target) {
			done = "."
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	i, ok := last[done]
	switch {
	case !ok:
		return 0, &NotFoundError{Path: name}
	case l.Files[i].Mode.IsDir():
		return 0, &NotFoundError{Path: name, What: "a directory"}
	case !l.Files[i].Mode.IsRegular():
		return 0, &NotFoundError{Path: name, What: "a device, a FIFO or a socket"}
	}
	return i, nil
}
