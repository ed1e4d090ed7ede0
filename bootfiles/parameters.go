package bootfiles

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/initrd"
)

// label makes the labels out of the parameters.
func (s *Set) label(opts Options, profiles []string) error {
	chosen := cmp.Or(opts.Default, Tmpfs)
	if chosen != Tmpfs && chosen != ISCSI {
		return initrd.InvalidOptionf("Default", "%q is not a label: choose one of %s, %s", chosen, Tmpfs, ISCSI)
	}
	for _, field := range []struct{ name, text string }{{"Append", opts.Append}, {"AppendTmpfs", opts.AppendTmpfs}, {"AppendISCSI", opts.AppendISCSI}} {
		if err := CheckParameters(field.text); err != nil {
			return initrd.InvalidOptionf(field.name, "%w", err)
		}
	}
	s.Labels = []Label{{Tmpfs, join(opts.Append, "sidus.rw="+Tmpfs, opts.AppendTmpfs)}}
	if slices.Contains(profiles, "iscsi") {
		s.Labels = append(s.Labels, Label{ISCSI, join(opts.Append, "sidus.rw="+ISCSI, opts.AppendISCSI)})
	} else if chosen == ISCSI || opts.AppendISCSI != "" {
		return initrd.WithRemedy(initrd.OptionErrorf("Image", "%s cannot have the label %s, because it was not built with the profile iscsi: build it with the profiles %s,iscsi",
			opts.Image, ISCSI, strings.Join(profiles, ",")), "Profiles")
	}
	if chosen == ISCSI {
		slices.Reverse(s.Labels)
	}
	for _, l := range s.Labels {
		notes, err := understood(l.Append)
		if err != nil {
			return err
		}
		for _, note := range notes {
			if !slices.Contains(s.Warnings, note) {
				s.Warnings = append(s.Warnings, note)
			}
		}
	}
	return nil
}

// CheckParameters refuses parameters that a loader would not pass on as they are, or
// that the labels or the loaders set.
func CheckParameters(text string) error {
	inImage := func(problem string) error {
		return initrd.WithRemedy(errors.New(problem+": put the parameter into the image"), "Config")
	}
	for _, c := range text {
		switch {
		case c < ' ' || c > '~':
			return errors.New("has a control character, a newline or a character outside ASCII, which some loaders do not pass on: use printable ASCII on one line")
		case strings.ContainsRune("\"'\\`", c):
			return inImage("has the character " + string(c) + ", which GRUB changes")
		}
	}
	if strings.Contains(text, "${") {
		return inImage("has ${, which iPXE would replace")
	}
	for parameter := range strings.FieldsSeq(text) {
		name, _, _ := strings.Cut(parameter, "=")
		switch {
		case strings.HasPrefix(parameter, "#"), slices.Contains([]string{";", "||", "&&", "--", "---"}, parameter):
			return errors.New("has " + parameter + ", which has another meaning for a loader: leave it out")
		case slices.Contains([]string{"initrd", "BOOT_IMAGE", "BOOTIF"}, name):
			return errors.New("has " + name + "=, which the loaders set: leave it out")
		case name == "sidus.rw":
			return initrd.WithRemedy(errors.New("has sidus.rw=, which the labels set: leave it out, and choose a label"), "Default")
		}
	}
	return nil
}

// maxLine is how long a command line may be: the kernel takes 2047 bytes on x86
// (COMMAND_LINE_SIZE), and loaders add names of files and the MAC.
const maxLine = 1900

// understood refuses parameters that /init would not understand, and those that are
// too long for the kernel.
func understood(text string) (notes []string, err error) {
	if len(text) > maxLine {
		return nil, initrd.WithRemedy(initrd.InvalidOptionf("Append", "%d bytes, more than the %d that the kernel and the loaders accept: put parameters into the image", len(text), maxLine), "Config")
	}
	c, err := config.Parse(text, "")
	if err != nil {
		return nil, initrd.OptionErrorf("Append", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if c.ISCSI.Password != "" || c.ISCSI.PasswordIn != "" {
		c.Notes = append(c.Notes, "the parameters have a password, and everybody can fetch the parameters: put the password into the file of secrets from which the image is built")
	}
	return c.Notes, nil
}

// join puts parameters together, with one blank between them.
func join(texts ...string) string {
	var fields []string
	for _, text := range texts {
		fields = append(fields, strings.Fields(text)...)
	}
	return strings.Join(fields, " ")
}
