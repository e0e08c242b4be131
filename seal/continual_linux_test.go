package seal

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/tensor"
)

// On a disk that fills up continual self-edits and continued pretraining end with
// an error, and go on to the same files once there is room.
func TestContinualOnAFullDisk(t *testing.T) {
	model := filepath.Join(t.TempDir(), "m")
	if err := tinyInputs(t, 1).Model.Save(model); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func(dir string) error{
		"continual": func(dir string) error {
			_, err := ExecuteContinual(t.Context(), dir, continualSettings(KeepReplay), continualInputs(t, 1), Options{})
			return err
		},
		"continue": func(dir string) error {
			s := tinySettings()
			s.Outer.Rounds, s.Eval.Controls, s.Continue.Train, s.Continue.Checkpoint = 0, nil, "all", 1
			in := tinyInputs(t, 1)
			_, err := ExecuteContinue(t.Context(), dir, s, ContinueInputs{Inputs: in, Open: func(from string) (*nn.Model, error) {
				if from == "" {
					from = model
				}
				return nn.Load(in.Model.Device(), from, nn.LoadOptions{Compute: tensor.F32, Float32: true})
			}}, Options{})
			return err
		},
	} {
		whole := t.TempDir()
		if err := run(whole); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48k"); err != nil {
			t.Skipf("mounting a small file system needs rights: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
		if err := run(dir); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%s on a disk of 48 KiB: %v", name, err)
		}
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=8m"); err != nil {
			t.Fatal(err)
		}
		if err := run(dir); err != nil {
			t.Fatal(err)
		}
		want, got := canonical(t, whole), canonical(t, dir)
		if d := diff(want, got); d != "" {
			t.Errorf("%s (-whole +resumed)\n%s", name, d)
		}
	}
}
