#!/bin/sh
# Makes every picture and every number of this guide: docs/guide/make.sh path/to/inkgrad
#
# It works in a temporary folder, leaves pictures in docs/guide/pictures and numbers in docs/guide/numbers.txt.
# Everything runs on the CPU device with seed 0. The picture of weights also needs python3.
set -eu

program=${1:-inkgrad}
guide=$(cd "$(dirname "$0")" && pwd)
case $program in */*) program=$(cd "$(dirname "$program")" && pwd)/$(basename "$program") ;; esac
command -v "$program" > /dev/null || { echo "no program at $program: docs/guide/make.sh path/to/inkgrad" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$guide/pictures"
cp -r "$guide/models" "$work/models"
cd "$work"

inkgrad() {
    "$program" "$@"
}

page() {
    printf '\n== %s\n' "$*"
    echo "$*" >&2
}

# train NAME ARGUMENTS: a run whose folder is NAME, and its last training and validation rows.
train() {
    name=$1
    shift
    if inkgrad train "$@" --device cpu --seed 0 --out "made/$name" --quiet > log 2> errors; then
        mv "made/$name"/0001-* "$name"
        awk -F, -v name="$name" '
            $3 == "training" { loss = $4; accuracy = $5 }
            $3 == "validation" && (least == "" || $4 < least) { least = $4; at = $2 }
            $3 == "validation" { last = $4; right = $5 }
            END {
                printf "%-22s training %.4f %6.2f %%   validation %.4f %6.2f %%   least loss %.4f at epoch %d\n",
                    name, loss, accuracy * 100, last, right * 100, least, at
            }' "$name/metrics.csv"
    else
        printf '%-22s %s\n' "$name" "$(tail -n 1 errors)"
    fi
}

shifts() {
    printf '%-22s moved by' "$1"
    inkgrad evaluate "./$1" --shifts "$2" --device cpu --out seen > log 2> errors
    awk '/by the larger/ { there = 1 } there && NF == 3 && $3 ~ /%/ { printf "  %s: %s", $1, $3 } END { print "" }' log
}

picture() {
    cp "$1" "$guide/pictures/$2"
}

weights() {
    if command -v python3 > /dev/null; then
        python3 "$guide/weights.py" "$1/best.safetensors" "$guide/pictures/$2" "$3" "$4"
    else
        echo "no python3: $2 is left as it was" >&2
    fi
}

everything() {
    page 1 perceptron
    inkgrad inspect models/perceptron.toml
    inkgrad inspect dense
    train perceptron models/perceptron.toml
    train perceptron-decay models/perceptron.toml --weight-decay 0.1
    train hidden dense --epochs 5
    train hidden-decay dense --epochs 5 --weight-decay 0.5
    weights perceptron weights-undecayed.png 5 10
    weights perceptron-decay weights-perceptron.png 5 10
    weights hidden-decay weights-dense.png 8 16

    page 2 activation functions
    for name in none sigmoid tanh relu; do
        train $name models/$name.toml --epochs 5
    done
    inkgrad curves none sigmoid tanh relu --title "Activation functions" --out curves.png > log
    picture curves.png activations.png

    page 3 learning rate
    for rate in 0.0001 0.001 0.01 0.1 0.3 1 3; do
        train rate-$rate dense --optimizer sgd --momentum 0 --schedule constant --learning-rate $rate --epochs 3
    done
    inkgrad curves 0.001=rate-0.001 0.1=rate-0.1 1=rate-1 --title "Learning rates" --out curves.png > log
    picture curves.png rates.png

    page 4 optimizers
    for optimizer in sgd rmsprop adagrad adam; do
        for rate in 0.0003 0.001 0.003 0.01 0.03 0.1 0.3; do
            case $optimizer in
                sgd) train $optimizer-$rate dense --optimizer sgd --momentum 0 --schedule constant --learning-rate $rate --epochs 1 ;;
                *) train $optimizer-$rate dense --optimizer $optimizer --schedule constant --learning-rate $rate --epochs 1 ;;
            esac
        done
    done
    train sgd dense --optimizer sgd --momentum 0 --schedule constant --learning-rate 0.001 --epochs 3
    for optimizer in rmsprop adagrad adam; do
        train $optimizer dense --optimizer $optimizer --schedule constant --learning-rate 0.001 --epochs 3
    done
    inkgrad curves sgd rmsprop adagrad adam --title "Four optimizers, learning rate 0.001" --out curves.png > log
    picture curves.png optimizers.png

    page 5 the data
    inkgrad data stats --out stats.png
    picture stats.png stats.png
    inkgrad evaluate ./perceptron --device cpu --mistakes 16 --out seen-perceptron
    inkgrad evaluate judge --device cpu --mistakes 16 --out seen-judge
    picture seen-perceptron/mistakes.png mistakes-perceptron.png
    picture seen-judge/mistakes.png mistakes-judge.png
    picture seen-perceptron/confusion.png confusion.png

    page 6 overfitting
    few="--validation 59000 --epochs 40"
    train plain models/wide.toml $few
    train dropout models/wide-dropout.toml $few
    train decay models/wide.toml $few --weight-decay 3
    train augmented models/wide.toml $few --rotate 10 --shift 0.08 --zoom 0.1
    train augmented-dropout models/wide-dropout.toml $few --rotate 10 --shift 0.08 --zoom 0.1
    inkgrad curves plain --title "1,000 images, nothing against overfitting" --out curves.png > log
    picture curves.png overfitting.png
    inkgrad curves augmented --title "1,000 images, augmented" --out curves.png > log
    picture curves.png regularised.png

    page 7 convolution and pooling
    for name in conv-avg conv-max conv-none; do
        inkgrad inspect models/$name.toml
        train $name models/$name.toml --epochs 2
        shifts $name 3
    done
    train two-epochs dense --epochs 2
    shifts two-epochs 3
    inkgrad curves dense=two-epochs conv-none conv-max --title "Dense and convolutional" --out curves.png > log
    picture curves.png convolution.png

    page 8 extending the base
    inkgrad data preview --extend --rows 4 --columns 11 --device cpu --out preview.png
    picture preview.png extend.png
    inkgrad data preview --rotate 15 --shift 0.1 --zoom 0.1 --rows 4 --columns 11 --device cpu --out preview.png
    picture preview.png augment.png
    train centred dense --epochs 20
    shifts centred 5
    train shifted dense --epochs 20 --shift 0.15
    shifts shifted 5
    train extended dense --epochs 1 --extend
    shifts extended 5

    page 9 the GAN
    inkgrad generate --seeds 0-5 --scale 2 --device cpu --quiet --out seeds.png
    inkgrad generate --between-seeds 3,17 --digits 0-5 --frames 12 --scale 2 --device cpu --quiet --out hands.png
    inkgrad generate --between-digits 3,8 --grid 1x4 --frames 12 --scale 2 --device cpu --quiet --out digits.png
    for factor in 0.3 1 2; do
        inkgrad generate --grid 3x10 --truncation $factor --scale 2 --device cpu --quiet --out truncation-$factor.png
        picture truncation-$factor.png truncation-$factor.png
    done
    picture seeds.png seeds.png
    picture hands.png between-hands.png
    picture digits.png between-digits.png
}

everything > numbers.txt
cp numbers.txt "$guide/numbers.txt"
ls -l "$guide/pictures" >&2
